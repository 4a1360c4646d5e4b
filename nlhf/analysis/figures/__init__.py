"""Figures: functions of what `load`, `observations` and a run's files hold; each returns a matplotlib Figure."""
