"""Policies: immutable values, distributions over actions given a context."""
