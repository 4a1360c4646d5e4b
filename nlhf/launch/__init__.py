"""Running runs: every launcher calls `nlhf.launch.run.run_one` and nothing else."""
