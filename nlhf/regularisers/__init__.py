"""Regularisers: how deviations from the reference are penalised."""
