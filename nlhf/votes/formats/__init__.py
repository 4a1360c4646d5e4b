"""Formats of votes files, one row each in `nlhf.votes.formats.table`."""
