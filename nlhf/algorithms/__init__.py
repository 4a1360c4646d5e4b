"""Algorithms: which proximal problems are solved, in which order."""
