"""Figures: functions that return a matplotlib Figure of a study's tables and files."""
