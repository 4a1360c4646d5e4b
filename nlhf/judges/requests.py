"""Requests to an endpoint that speaks OpenAI's protocol: several threads, with pauses and retries."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError
from nlhf.io.files import WriteError
from nlhf.judges.masking import masked
from nlhf.judges.verdicts import completion_of, verdict_of
from nlhf.terminal import hush_http

if TYPE_CHECKING:
    from nlhf.judges.base import Pair
    from nlhf.judges.endpoint import Endpoint
    from nlhf.judges.ledger import Ledger

KEY, OPENAI = "OPENAI_API_KEY", "https://api.openai.com/v1"
REFUSED = (400, 413, 422)  # status codes that concern one question
TEMPORARY = (408, 409, 425, 429)  # status codes after which a retry may help, as after those from 500 on
LONGEST = 60.0  # seconds of a pause that an endpoint may ask for


class Pace:
    """Spaces requests evenly over all threads, and stops them while the endpoint asks for a pause."""

    def __init__(self, per_minute: float | None) -> None:
        self.interval, self.next_time, self.lock = 60 / per_minute if per_minute else 0.0, 0.0, threading.Lock()

    def wait(self, stopped: threading.Event) -> None:
        """Sleep until the next request is due, or until `stopped` is set."""
        with self.lock:
            now = time.monotonic()
            self.next_time = max(now, self.next_time)
            pause, self.next_time = self.next_time - now, self.next_time + self.interval
        stopped.wait(pause)

    def hold(self, seconds: float) -> None:
        """Delay all requests by so many seconds."""
        with self.lock:
            self.next_time = max(self.next_time, time.monotonic() + seconds)


class Requests:
    """Asks an endpoint about pairs and writes its verdicts to a ledger.

    Args:
        options: the judge, with the address, the texts of a question, and the limits.
        ledger: of verdicts, refusals and costs.
    """

    def __init__(self, options: Endpoint, ledger: Ledger) -> None:
        self.options, self.ledger = options, ledger
        self.address = options.base_url or OPENAI

    @cached_property
    def client(self) -> Any:
        """The client of the package openai. The key comes from the environment.

        Raises: ConfigError.
        """
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ConfigError('judge=openai needs the extra api: pip install -e ".[api]"') from error
        key = os.environ.get(KEY, "").strip()
        if not key and self.options.base_url is None:
            raise ConfigError(f"{KEY} is not set: export it, or give game.judge.base_url of a server without keys.")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"{KEY} has a line break or another character that no request can carry: export it again."
            )
        hush_http()
        return OpenAI(api_key=key or "none", base_url=self.address, timeout=self.options.timeout, max_retries=0)

    def ask_all(self, pairs: list[Pair]) -> None:
        """Ask about every pair.

        A pair that the endpoint refuses, for its length or its content, is a tie in this process. If more than a few
        are refused, or a question fails, no further questions are sent; verdicts under way are still stored.

        Raises: ConfigError, WriteError.
        """
        _ = self.client  # an error of its options is raised here, not in a thread
        pace, stopped = Pace(self.options.requests_per_minute), threading.Event()

        def ask(pair: Pair) -> None:
            if stopped.is_set():
                return
            try:
                self.ask(pair, pace, stopped)
            except BaseException:
                stopped.set()
                raise

        pool = ThreadPoolExecutor(self.options.workers)
        try:
            questions = [pool.submit(ask, pair) for pair in pairs]
            wait(questions)
        finally:  # after Ctrl-C no further question is sent
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
        errors = [error for question in questions if (error := question.exception())]
        if errors:
            if isinstance(errors[0], WriteError):
                raise errors[0]
            raise ConfigError(self.failure(errors[0], len(pairs))) from None
        if self.ledger.refused and not len(self.ledger):
            reason = next(iter(self.ledger.refused.values()))
            raise ConfigError(
                f"game.judge.base_url={self.address} refuses all it was asked ({reason}): correct the judge's keys."
            )

    def ask(self, pair: Pair, pace: Pace, stopped: threading.Event) -> None:
        """Ask until there is a verdict, and write it to the ledger; or until `stopped` is set.

        Raises: the last error after all retries, or at once an error that a retry cannot mend.
        """
        verdict = None
        for attempt in range(self.options.retries + 1):
            pace.wait(stopped)
            if stopped.is_set():
                return
            try:
                completion = self._completion(pair)
            except Exception as error:  # of the package openai, or of a package that it uses
                status = getattr(error, "status_code", None)  # None: no connection, a timeout, no completion
                if status in REFUSED:
                    if self.ledger.refuse(pair, described(error)):
                        return
                    raise
                temporary = status is None or status in TEMPORARY or status >= 500
                if attempt == self.options.retries or not temporary:
                    raise
                pace.hold(_pause(error, attempt))
                continue
            self.ledger.paid(completion)
            if (verdict := verdict_of(completion)) is not None:
                break
        self.ledger.add(pair, verdict)

    def _completion(self, pair: Pair) -> Any:
        """The endpoint's answer to a question about a pair."""
        prompt, first, second = pair
        question = self.options.template.format(prompt=prompt, first=first, second=second)
        messages = [
            {"role": "system", "content": self.options.instructions},
            {"role": "user", "content": question},
        ]
        response = self.client.chat.completions.with_raw_response.create(
            model=self.options.model, messages=messages, temperature=0.0, max_tokens=self.options.max_tokens
        )
        return completion_of(response.http_response.text)

    def failure(self, error: BaseException, count: int) -> str:
        """The error message: what went wrong, without the key, and which verdicts are stored."""
        refused = ""
        if getattr(error, "status_code", None) in REFUSED:
            refused = f" of {len(self.ledger.refused)} questions, too many to count them as ties"
        return (
            f"game.judge.base_url={self.address}: {described(error)}{refused}; verdicts on {len(self.ledger)} pairs "
            f"are kept in {self.ledger.path}: mend the endpoint and run the same command again, {count} were asked for."
        )


def described(error: BaseException) -> str:
    """An error as text, without the key."""
    reason = masked(str(error), os.environ.get(KEY, ""))  # before the cut, which could leave a part of the key
    return f"{type(error).__name__} ({' '.join(reason.split())[:200]})"


def _pause(error: Exception, attempt: int) -> float:
    """Seconds before a retry: what the endpoint asks for, or half a second, doubled with each attempt."""
    asked = str(getattr(getattr(error, "response", None), "headers", {}).get("retry-after", ""))
    with suppress(ValueError, TypeError):
        return min(LONGEST, max(0.0, _seconds(asked)))
    return float(min(8.0, 0.5 * 2**attempt))


def _seconds(asked: str) -> float:
    """The seconds that Retry-After asks for, a number or a date. Raises: ValueError, TypeError."""
    if asked[:1].isalpha():
        return (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    return float(asked)
