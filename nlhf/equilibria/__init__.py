"""Nash equilibria, their certificates, and the metrics of policies."""
