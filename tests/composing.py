"""Plain configs for tests, thirty times faster than by Hydra where only values differ from an earlier config."""

from __future__ import annotations

from functools import cache
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf.basecontainer import BaseContainer

from nlhf.launch.compose import composed
from nlhf.launch.composer import Composer

# Algorithms that a loss defines, which only prox=gradient runs.
BY_LOSS = ("offline_dpo", "offline_ipo", "online_dpo", "sft", "xpo")
# Algorithms that refuse beta > 0.
ASKING = ("asking", "asking_bradley_terry", "asking_log_barrier", "asking_thompson", "asking_uniform")  # for votes only
# Algorithms that solve for another solution than Nash.
OTHER_SOLUTIONS = ("stackelberg",)
UNREGULARISED = ("predictive_regret_matching", "regret_matching", "restarted_gradient", "restarted_optimistic")


def configured(*overrides: str) -> dict[str, Any]:
    """What `plain` gives for the config that Hydra composes from these overrides.

    Hydra composes once per combination of group choices; tests/launch/test_composer.py checks that both are the same.
    """
    if "algorithm=stackelberg" in overrides and not any(word.startswith("solution=") for word in overrides):
        overrides = (*overrides, "solution=stackelberg")
    composer, state = _composer()  # the first call replaces Hydra's state, so it comes before `before`
    before = Singleton._instances, BaseContainer._resolvers  # Hydra's own way to save them copies for 50 ms
    Singleton._instances, BaseContainer._resolvers = state
    try:
        return composer(overrides)
    finally:
        Singleton._instances, BaseContainer._resolvers = before


@cache
def _composer() -> tuple[Composer, tuple[Any, Any]]:
    """A composer and the state of Hydra in which it works."""
    with composed([]) as master:
        state = Singleton._instances, BaseContainer._resolvers
        return Composer(GlobalHydra.instance().config_loader(), master), state
