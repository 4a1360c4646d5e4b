"""`arena=true`: the policies of a study of language models play each other at the end of the sweep."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from nlhf.messages import command
from nlhf.terminal import say


class ArenaAfterSweep(Callback):
    """Hydra's callback: plays the missing games of the study's arena after a sweep that ended well.

    Callbacks run in reverse order at the end, so this one comes before `SweepTable` in conf/config.yaml: the table ends
    the program where a task did not end well.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if OmegaConf.select(config, "arena") is not True or config.dry_run:
            return
        study = Path(str(config.runs_dir), str(config.study))
        arguments = [str(study), f"most_prompts={OmegaConf.select(config, 'game.test_prompts') or 100}"]
        if "slurm" in str(config.hydra.launcher._target_).lower():
            say(f"when the runs are completed, let them play: {command('nlhf', 'arena', *arguments)}")
            return
        from nlhf.cli.arena import play
        from nlhf.launch.sweep import errors_as_sentences

        logging.getLogger("fontTools").setLevel(logging.WARNING)  # Hydra shows what is logged at the level INFO
        with errors_as_sentences():
            play([arguments[0]], arguments[1:])
