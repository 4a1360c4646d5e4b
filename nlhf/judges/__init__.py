"""Judges of texts: which of two completions of a prompt is preferred; and how they are learned from votes."""
