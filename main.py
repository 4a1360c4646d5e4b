"""The entry point: `python main.py [-m] OVERRIDES`. Hydra composes, `run_one` runs."""

from __future__ import annotations

if __name__ == "__main__":
    from nlhf.cli.early import end_at_interrupts

    end_at_interrupts()

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config: DictConfig) -> float:
    """Run one config; returns log10 of the final exploitability."""
    from nlhf.cli.run import run_command

    return run_command(config)


if __name__ == "__main__":
    from nlhf.cli.entry import start

    start(main)
