"""A judge behind an endpoint that speaks OpenAI's protocol: OpenAI's, or your own server (vLLM, llama.cpp).

The judge asks about both orders of a pair and writes every verdict to the disk at once. No run ever pays twice for the
same question, whatever happens to the endpoint or to the run. The key comes from the environment variable
OPENAI_API_KEY and goes nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges.agreement import ORDERS, Agreement
from nlhf.judges.base import Pair, TextJudge
from nlhf.judges.ledger import DOUBT, Ledger
from nlhf.judges.requests import KEY, OPENAI, Requests
from nlhf.models.bundled import user_cache

log = logging.getLogger("nlhf")


@dataclass(frozen=True)
class Endpoint(TextJudge):
    """P(a > b) is the mean of the verdicts in both orders: 1, 1/2 or 0 each.

    Args:
        model: its name at the endpoint.
        base_url: the endpoint's address, with its /v1; null for OpenAI's.
        instructions: the system message.
        template: the user's message, with {prompt}, {first} and {second}.
        max_tokens: limit of an answer.
        workers: number of questions that are asked at once.
        requests_per_minute: limit of the rate; null for no limit.
        timeout: seconds that an answer may take.
        retries: number of retries of a question if the endpoint is down or busy, or its answer is unreadable. The
            pauses grow, or are those that the endpoint asks for.
        price_in, price_out: dollars for a million tokens that are read and written, for the account.
        cache: folder of the verdicts; null for the user's.
    """

    model: str
    base_url: str | None
    instructions: str
    template: str
    max_tokens: int
    workers: int
    requests_per_minute: float | None
    timeout: float
    retries: int
    price_in: float
    price_out: float
    cache: str | None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url or OPENAI)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "game.judge.base_url is not an http or https address: give one such as http://localhost:8000/v1."
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "game.judge.base_url has a name, password, query or fragment, which runs would keep: leave it out, "
                f"and set {KEY} in the environment."
            )
        for name in ("max_tokens", "workers", "timeout", "requests_per_minute"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"game.judge.{name}={value} is out of range: give a finite number > 0.")
        for name in ("retries", "price_in", "price_out"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"game.judge.{name}={getattr(self, name)} is out of range: give a number >= 0.")
        try:
            self.template.format(prompt="", first="", second="")
        except (KeyError, IndexError, ValueError) as error:
            raise ConfigError(
                f"game.judge.template cannot be filled ({error}): its fields are {{prompt}}, {{first}} and {{second}}."
            ) from error

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        swapped = [(prompt, second, first) for prompt, first, second in pairs]
        verdicts = self._verdicts([*pairs, *swapped]).reshape(2, -1)
        readable = np.array([self._ledger.is_readable(pair) for pair in [*pairs, *swapped]], bool)
        both = np.logical_and(*readable.reshape(2, -1))
        same = np.asarray(both & (verdicts[0] == 1 - verdicts[1]))
        self._agreement.add(pairs, np.asarray(both), same)
        return np.asarray((verdicts[0] + 1 - verdicts[1]) / 2)

    def refused(self, pairs: Sequence[Pair]) -> np.ndarray:
        refuses = self._ledger.refuses
        return np.array([refuses(pair) or refuses((pair[0], pair[2], pair[1])) for pair in pairs], bool)

    @property
    def calls(self) -> int:
        return self._ledger.calls

    @property
    def account(self) -> dict[str, Any]:
        ledger = self._ledger
        cost = (ledger.tokens_in * self.price_in + ledger.tokens_out * self.price_out) / 1e6
        return {
            "calls": ledger.calls,
            "known_before": ledger.reused,
            "unreadable": ledger.unreadable,
            "refused": len(ledger.refused),
            "tokens_in": ledger.tokens_in,
            "tokens_out": ledger.tokens_out,
            "cost": cost,
            **self._agreement.account,
        }

    @property
    def decides(self) -> dict[str, Any]:
        """The question alone: a resumed run may have another pace, cache, or address of the same model."""
        return {key: getattr(self, key) for key in ("model", "instructions", "template", "max_tokens")}

    @cached_property
    def _agreement(self) -> Agreement:
        """Between the verdicts in both orders of a pair."""
        return Agreement(ORDERS)

    @cached_property
    def _requests(self) -> Requests:
        return Requests(self, self._ledger)

    @cached_property
    def _ledger(self) -> Ledger:
        """The verdicts on exactly this question: endpoint, model, texts and length of an answer."""
        question = json.dumps([self.base_url, self.model, self.instructions, self.template, self.max_tokens])
        folder = Path(self.cache).expanduser() if self.cache else user_cache() / "verdicts"
        name = re.sub(r"[^\w.-]+", "-", self.model)[:40]
        return Ledger(folder / f"{name}-{hashlib.sha256(question.encode()).hexdigest()[:12]}.jsonl")

    def _verdicts(self, pairs: list[Pair]) -> np.ndarray:
        """The verdict on every ordered pair, (n)."""
        ledger = self._ledger
        self._note(pairs)
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in ledger]
        if missing:
            self._requests.ask_all(missing)
        verdicts = np.array([ledger[pair] for pair in pairs])
        if ledger.refused:
            reason, count = next(iter(ledger.refused.values())), len(ledger.refused)
            log.warning("the endpoint refuses %d questions (%s): ties in a run, no games in an arena", count, reason)
        if ledger.unreadable > DOUBT * max(len(ledger), 20):
            log.warning(
                "the judge's answers on %d of %d pairs could not be read and count as ties: change "
                "game.judge.instructions, template or max_tokens",
                ledger.unreadable,
                len(ledger),
            )
        return verdicts
