"""A judge behind an endpoint that speaks OpenAI's protocol: OpenAI's own, or a server of one's own (vLLM, llama.cpp).

Both orders of a pair are asked about, and every verdict is on the disk the moment it is there: what was paid for is
never asked again, by this run or another one, whatever happens to the endpoint or to us. The key comes from the
environment, OPENAI_API_KEY, and goes nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.files import WriteError
from nlhf.judges.base import Pair, TextJudge
from nlhf.judges.ledger import DOUBT, TIE, Ledger, Pace
from nlhf.models.bundled import user_cache
from nlhf.terminal import hush_http

KEY, OPENAI = "OPENAI_API_KEY", "https://api.openai.com/v1"
VERDICTS = {"a": 1.0, "b": 0.0, "tie": TIE}
LETTER = r"(A|B|[Tt]ie|TIE)\b"
ANSWER = re.compile(rf"\b{LETTER}")
FIRST = re.compile(rf"\W*(?:[Aa]nswer:?\s*)?{LETTER}\W*?(?:[.\n]|$|[,:;)]([^.\n]*))")  # a verdict that reasons follow
BETTER = re.compile(r"\W*(?:[Aa]nswer\s+)?(A|B)\s+is\s+(?:clearly\s+|slightly\s+|much\s+|the\s+)?(?:better|best)\b")
DENIED = re.compile(r"\b(not|neither|nor|no|worse|cannot|unable|unclear)\b|n't", re.IGNORECASE)
ARTICLE = re.compile(r"\bA(?=\s+(?!(?:is|wins|or|and|nor|but|vs|over|than|because|since|as)\b)[a-z])")
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)  # also one that was cut off
REFUSED = (400, 413, 422)  # status codes that are about one question
PASSING = (408, 409, 425, 429)  # status codes that are no answer yet, like those from 500 on
PART = 8  # characters of a key that may not be shown in a row
LONGEST = 60.0  # seconds of a pause that an endpoint may ask for
log = logging.getLogger("nlhf")


@dataclass(frozen=True)
class Endpoint(TextJudge):
    """P(a > b) is the mean of the verdicts in both orders: 1, 1/2 or 0 each.

    Args:
        model: its name at the endpoint.
        base_url: of the endpoint, with its /v1; null for OpenAI's.
        instructions: the system message.
        template: the user's message, with {prompt}, {first} and {second}.
        max_tokens: of an answer.
        workers: questions that are asked at once.
        requests_per_minute: at most so many; null for no limit.
        timeout: seconds that an answer may take.
        retries: of a question, with growing pauses, or those that the endpoint asks for, where it is down, busy, or
            answers nonsense.
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
            raise ConfigError("game.judge.base_url is no address of http or https: give one, http://localhost:8000/v1.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError("game.judge.base_url has a name, password, query or fragment, which runs would keep: "
                              f"leave it out, and set {KEY} in the environment.")  # fmt: skip
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
            raise ConfigError(f"game.judge.template cannot be filled ({error}): its fields are {{prompt}}, {{first}} "
                              "and {second}.") from error  # fmt: skip

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        orders = [*pairs, *((prompt, second, first) for prompt, first, second in pairs)]
        told = self._told(orders).reshape(2, -1)
        return np.asarray((told[0] + 1 - told[1]) / 2)

    def refused(self, pairs: Sequence[Pair]) -> np.ndarray:
        return np.array([self._ledger.refuses(pair) or self._ledger.refuses((pair[0], pair[2], pair[1]))
                         for pair in pairs], bool)  # fmt: skip

    @property
    def calls(self) -> int:
        return self._ledger.calls

    @property
    def account(self) -> dict[str, Any]:
        paid = self._ledger
        cost = (paid.tokens_in * self.price_in + paid.tokens_out * self.price_out) / 1e6
        return {"calls": paid.calls, "known_before": paid.reused, "unreadable": paid.unreadable,
                "refused": len(paid.refused), "tokens_in": paid.tokens_in, "tokens_out": paid.tokens_out,
                "cost": cost}  # fmt: skip

    @property
    def decides(self) -> dict[str, Any]:
        """The question alone: a run may go on with another pace, another cache, or the same model at another place."""
        return {"model": self.model, "instructions": self.instructions, "template": self.template,
                "max_tokens": self.max_tokens}  # fmt: skip

    @cached_property
    def _ledger(self) -> Ledger:
        """The verdicts of this very question: endpoint and model, words and length of an answer."""
        question = json.dumps([self.base_url, self.model, self.instructions, self.template, self.max_tokens])
        folder = Path(self.cache).expanduser() if self.cache else user_cache() / "verdicts"
        name = re.sub(r"[^\w.-]+", "-", self.model)[:40]
        return Ledger(folder / f"{name}-{hashlib.sha256(question.encode()).hexdigest()[:12]}.jsonl")

    def _told(self, orders: list[Pair]) -> np.ndarray:
        ledger = self._ledger
        self._note(orders)
        missing = [pair for pair in dict.fromkeys(orders) if pair not in ledger]
        if missing:
            self._ask_all(missing)
        told = np.array([ledger[pair] for pair in orders])
        if ledger.refused:
            words = next(iter(ledger.refused.values()))
            log.warning("the endpoint refuses %d questions (%s): ties in a run, no games in an arena",
                        len(ledger.refused), words)  # fmt: skip
        if ledger.unreadable > DOUBT * max(len(ledger), 20):
            log.warning("the judge's answers on %d of %d pairs could not be read and count as ties: change "
                        "game.judge.instructions, template or max_tokens", ledger.unreadable, len(ledger))  # fmt: skip
        return told

    def _ask_all(self, missing: list[Pair]) -> None:
        """Ask about every pair. One that the endpoint refuses, for its length or its content, is a tie in this process;
        where more than a few are refused, or one cannot be answered, no further ones are asked, and what is under way
        is kept.

        Raises: ConfigError.
        """
        client, pace, failed = self._client, Pace(self.requests_per_minute), threading.Event()

        def ask(pair: Pair) -> None:
            if failed.is_set():
                return
            try:
                self._ask(client, pace, pair, failed)
            except BaseException:
                failed.set()
                raise

        pool = ThreadPoolExecutor(self.workers)
        try:
            questions = [pool.submit(ask, pair) for pair in missing]
            wait(questions)
        finally:  # after Ctrl-C nothing more is asked
            failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
        problems = [problem for question in questions if (problem := question.exception())]
        if problems:
            if isinstance(problems[0], WriteError):
                raise problems[0]
            raise ConfigError(self._excuse(problems[0], len(missing))) from None
        if self._ledger.refused and not len(self._ledger):
            words = next(iter(self._ledger.refused.values()))
            raise ConfigError(f"game.judge.base_url={self.base_url or OPENAI} refuses all it was asked ({words}): mend "
                              "the judge's keys.")  # fmt: skip

    def _ask(self, client: Any, pace: Pace, pair: Pair, stopped: threading.Event) -> None:
        """Ask until there is a verdict, and write it down; or until all is stopped.

        Raises: the last problem, where there is none after all retries; what no retry mends at once.
        """
        verdict = None
        for left in range(self.retries, -1, -1):
            pace.wait(stopped)
            if stopped.is_set():
                return
            try:
                response = client.chat.completions.with_raw_response.create(
                    model=self.model, messages=self._messages(pair), temperature=0.0, max_tokens=self.max_tokens
                )
                answer = _completion(response.http_response.text)
            except Exception as problem:  # of the openai package or of what is below it
                status = getattr(problem, "status_code", None)  # None: no connection, no time, no completion
                if status in REFUSED:
                    if self._ledger.refuse(pair, self._words(problem)):
                        return
                    raise
                if not left or not (status is None or status in PASSING or status >= 500):
                    raise
                pace.hold(_pause(problem, self.retries - left))
                continue
            self._ledger.paid(answer)
            if (verdict := _verdict(answer)) is not None:
                break
        self._ledger.add(pair, verdict)

    def _messages(self, pair: Pair) -> list[dict[str, str]]:
        prompt, first, second = pair
        words = self.template.format(prompt=prompt, first=first, second=second)
        return [{"role": "system", "content": self.instructions}, {"role": "user", "content": words}]

    @cached_property
    def _client(self) -> Any:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ConfigError('judge=openai needs the extra api: pip install -e ".[api]"') from error
        key = os.environ.get(KEY, "").strip()
        if not key and self.base_url is None:
            raise ConfigError(f"{KEY} is not set: export it, or give game.judge.base_url of a server without keys.")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"{KEY} has a line break or another character that no request can carry: export it again."
            )
        hush_http()
        return OpenAI(api_key=key or "none", base_url=self.base_url or OPENAI, timeout=self.timeout,
                      max_retries=0)  # fmt: skip

    def _excuse(self, problem: BaseException, asked: int) -> str:
        """What went wrong, without the key, and what is not lost."""
        refused = ""
        if getattr(problem, "status_code", None) in REFUSED:
            refused = f" of {len(self._ledger.refused)} questions, too many to count them as ties"
        return (f"game.judge.base_url={self.base_url or OPENAI}: {self._words(problem)}{refused}; verdicts on "
                f"{len(self._ledger)} pairs are kept in {self._ledger.path}: mend the endpoint and run the same "
                f"command again, {asked} were asked for.")  # fmt: skip

    def _words(self, problem: BaseException) -> str:
        """A problem in words, without the key."""
        reason = masked(str(problem), os.environ.get(KEY, ""))  # before it is cut, or a part of the key stays
        return f"{type(problem).__name__} ({' '.join(reason.split())[:200]})"


def masked(text: str, secret: str) -> str:
    """A text with *** for the secret, in whatever way it is spelled there, and for parts of 8 characters or more."""
    hidden = np.zeros(len(text), bool)
    for spelling in _spellings(secret.strip()) | _spellings(secret):
        width = min(PART, len(spelling))
        for part in {spelling[start : start + width] for start in range(len(spelling) - width + 1)}:
            for match in re.finditer(f"(?={re.escape(part)})", text, re.IGNORECASE):
                hidden[match.start() : match.start() + width] = True
    runs = groupby(zip(text, hidden.tolist(), strict=True), key=lambda entry: entry[1])
    return "".join("***" if secret_part else "".join(letter for letter, _ in run) for secret_part, run in runs)


def _spellings(secret: str) -> set[str]:
    """How repr, JSON, URLs and HTML spell a secret, and how each of them spells the others' spelling."""
    ways: list[Callable[[str], str]] = [
        lambda text: repr(text)[1:-1],
        lambda text: ascii(text)[1:-1],
        lambda text: repr(text.encode(errors="surrogateescape"))[2:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: quote(text, safe="", errors="replace"),
        lambda text: quote_plus(text, errors="replace"),
        escape,
        lambda text: text.replace('"', "&#34;").replace("'", "&#39;"),
    ]
    once = {secret, *(way(secret) for way in ways)}
    return (once | {way(text) for way in ways for text in once}) - {""}


def _completion(text: str) -> Any:
    """The chat completion in a response; whatever else is malformed in it (a number of 5,000 digits, say), its verdict
    can be read, as it was paid for.

    Raises: ValueError.
    """
    with suppress(ValueError, TypeError, RecursionError):
        answer = json.loads(text, object_hook=lambda entry: SimpleNamespace(**entry), parse_int=float)
        if getattr(answer, "choices", None):
            return answer
    raise ValueError("what it sends is no chat completion")


def _pause(problem: Exception, attempt: int) -> float:
    """Seconds until a question is asked again: what the endpoint asks for, or half a second, doubled each time."""
    headers = getattr(getattr(problem, "response", None), "headers", {})
    try:
        return min(LONGEST, max(0.0, float(headers.get("retry-after", "none"))))
    except ValueError:
        return float(min(8.0, 0.5 * 2**attempt))


def _verdict(answer: Any) -> float | None:
    """1 where the first one shown is chosen, 0 for the second, 1/2 for a tie, None for what cannot be read."""
    try:
        words = answer.choices[0].message.content
    except (AttributeError, IndexError, KeyError, TypeError):
        return None
    if not isinstance(words, str):
        return None
    words = THOUGHT.sub("", words).strip()
    if (alone := words.lower().strip(".!* ").removeprefix("a ")) in VERDICTS:
        return VERDICTS[alone]
    if first := FIRST.match(words):
        rest = ARTICLE.sub("", first[2] or "")
        if not ANSWER.search(rest) and not DENIED.search(rest):
            return VERDICTS[first[1].lower()]
    if better := BETTER.match(words):
        return VERDICTS[better[1].lower()]
    found = {word.lower() for word in ANSWER.findall(ARTICLE.sub("", words))}
    return VERDICTS[found.pop()] if len(found) == 1 and not DENIED.search(words) else None
