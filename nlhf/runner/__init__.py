"""One run: its specification, its world, the trainer, its folder and its lock."""
