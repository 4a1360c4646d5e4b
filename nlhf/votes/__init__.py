"""Readers of votes files."""
