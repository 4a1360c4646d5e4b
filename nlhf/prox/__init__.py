"""Prox engines: how one proximal problem is solved, and what it costs."""
