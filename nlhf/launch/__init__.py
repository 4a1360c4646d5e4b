"""Running runs: every launcher calls `nlhf.runner.run_one.run_one` and nothing else."""
