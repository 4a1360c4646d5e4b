"""Figures: functions of what `load`, `units` and a run's files hold; each returns a matplotlib Figure."""
