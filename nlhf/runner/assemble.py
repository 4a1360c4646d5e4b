"""From a specification to a world: games, references and equilibria, or a language model with its judge."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nlhf.config import ConfigError
from nlhf.equilibria.solution import Instances
from nlhf.games.check import check_game
from nlhf.games.protocol import FiniteGame
from nlhf.references.base import check_reference
from nlhf.runner.specification import Specification
from nlhf.runner.table_world import TableWorld
from nlhf.runner.world import World


def assemble(run: Specification) -> World:
    """Build games, references and equilibria of all seeds, or load a language model and its judge.

    Raises: ConfigError for input files with other content, and for a device that does not exist.
    """
    if "prompts" not in run.game.provides:
        return assemble_table(run)
    from nlhf.runner.text_world import assemble_text  # a run without a language model need not load its packages

    return assemble_text(run, *_placed(run))


def assemble_table(run: Specification) -> TableWorld:
    """`assemble` for a game whose actions can be listed."""
    options = run.options
    device, beta = _placed(run)
    cache = Path(options.runs_dir) / ".equilibria"

    def world(game: FiniteGame, log_reference: Tensor, held_out: TableWorld | None) -> TableWorld:
        unit, penalty = run.game.payoff_unit, run.regulariser
        instances = Instances(game, log_reference, run.beta, options.equilibrium, cache, unit, penalty)
        equilibria = run.solution.certified(instances)
        placed = game.to(device), log_reference.to(device)
        return TableWorld(*placed, beta, equilibria, held_out, unit, penalty, run.solution)

    complete_game = run.game.build(options.seeds)
    check_game(complete_game, run.game.provides, f"game={type(run.game).__name__}")
    log_reference = run.reference.build(complete_game, options.seeds)
    check_reference(log_reference, complete_game, len(options.seeds), f"reference={type(run.reference).__name__}")
    if complete_game.tree is not None:
        log_reference = complete_game.tree.with_replies(log_reference)
    game, held_out_game = complete_game.split()
    trained = len(game.contexts)
    held_out = None
    if held_out_game is not None:
        held_out = world(held_out_game, log_reference[:, trained:].contiguous(), None)
    return world(game, log_reference[:, :trained].contiguous(), held_out)


def _placed(run: Specification) -> tuple[torch.device, Tensor]:
    """The device of a run, and beta of every seed on it in the units of the game, (S, 1, 1)."""
    device = find_device(run.options.device)
    return device, torch.full((len(run.options.seeds), 1, 1), run.beta, dtype=torch.float64, device=device)


def find_device(name: str) -> torch.device:
    """The device of a config.

    Raises: ConfigError for a device that does not exist or does not support float64.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device={name} is not available: give device=cpu, or a device that torch lists.") from error
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except TypeError as error:
        raise ConfigError(f"device={name} does not support float64, which games need: give device=cpu.") from error
    return device
