"""The judge behind an endpoint, against a server of the tests' own that misbehaves in every way that real ones do."""

from __future__ import annotations

import json
import re
import threading
import time
import traceback
from email.utils import formatdate
from html import escape, unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import numpy as np
import pytest

pytest.importorskip("openai")

from nlhf.config import ConfigError, build
from nlhf.io.files import WriteError
from nlhf.judges.endpoint import Endpoint
from nlhf.judges.requests import Pace, _pause
from nlhf.judges.verdicts import completion_of, verdict_of
from nlhf.launch.compose import composed, plain
from tests.selection import mostly_long

SECRET = "sk-this-is-a-secret-key"


class Server(ThreadingHTTPServer):
    """Prefers the longer answer; `faults` are what the next questions meet instead."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.times: list[float] = []
        self.pause = "0.05"
        self.logprobs = False
        self.keys: set[str] = set()
        self.lock = threading.Lock()
        self.free = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = body["messages"][1]["content"]
        with self.server.lock:
            self.server.asked.append(words)
            self.server.times.append(time.monotonic())
            self.server.keys.add(self.headers["Authorization"])
            fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault.endswith("+"):  # once another question is there
            fault = fault[:-1]
            until = time.monotonic() + 600
            while len(self.server.asked) < 2 and time.monotonic() < until:
                time.sleep(0.01)
        if fault == "held":
            self.server.free.wait(600)
        if fault == "cut":
            self.connection.close()
            return None
        if fault == "slow":
            time.sleep(3)
        if "REFUSE" in words:
            return self.say(400, {"error": {"message": "content filter"}})
        if fault.isdigit():
            return self.say(int(fault), {"error": {"message": f"no: {self.headers['Authorization']}"}})
        if fault.startswith("echo "):
            return self.say(401, {"error": {"message": fault}})
        first, second = words.split("\n\nAnswer B:\n")
        first, second = first.split("Answer A:\n")[1], second.split("\n\nWhich")[0]
        answer = "A" if len(first) > len(second) else "B" if len(second) > len(first) else "tie"
        if fault == "first":
            answer = "A"
        if fault == "empty":
            return self.say(200, {"foo": 1})
        if fault == "wordless":
            answer = ""
        if fault == "stream":
            return self.say(200, 'data: {"choices": []}\n\ndata: {"error": {"message": "overloaded"}}\n\n', "")
        if fault == "nonsense":
            answer = "As a language model, A and B are both lovely."
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        if self.server.logprobs:
            choice["logprobs"] = {"content": [{"token": answer, "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
        used = '{"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}'
        if fault.startswith("usage "):
            used = fault.removeprefix("usage ")
        content = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        return self.say(200, content, f', "usage": {used}}}' if used else "}")

    def say(self, status, content, end="}"):
        data = (json.dumps(content)[:-1] + end).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", self.server.pause)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def made(server, tmp_path, *overrides) -> Endpoint:
    words = ["judge=openai", "judge.model=small", f"judge.base_url={server.url}", f"judge.cache={tmp_path / 'cache'}",
             "judge.retries=3", "judge.timeout=600", "data=x", *overrides]  # fmt: skip
    with composed(words, "grade_judge") as config:
        return build(plain(config)["judge"], "judge")


PAIRS = [("why", "aaaa", "a"), ("why", "a", "aaa"), ("why", "ab", "cd"), ("how", "aaaa", "a")]


def test_both_orders_are_asked_and_nothing_twice(server, tmp_path):
    judge = made(server, tmp_path, "judge.price_in=1", "judge.price_out=10")
    assert judge.preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert len(server.asked) == judge.calls == 8
    assert judge.account == {"calls": 8, "known_before": 0, "unreadable": 0, "refused": 0,
                             "tokens_in": 800, "tokens_out": 8, "cost": pytest.approx((800 + 80) / 1e6),
                             "pairs_in_both_orders": 4, "same_in_both_orders": 4}  # fmt: skip
    turned = [(prompt, second, first) for prompt, first, second in PAIRS]
    assert (judge.preference(turned) + judge.preference(PAIRS) == 1).all()
    again = made(server, tmp_path)
    assert again.preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert again.calls == 0
    assert len(server.asked) == 8
    assert again.account["known_before"] == 8


def test_a_server_that_adds_log_probabilities_is_read_by_its_text(server, tmp_path):
    server.logprobs = True
    assert made(server, tmp_path).preference(PAIRS).tolist() == [1, 0, 0.5, 1]


def test_the_account_counts_pairs_with_the_same_verdict_in_both_orders(server, tmp_path):
    """A judge that always prefers the first answer contradicts itself; ties and unreadable answers do not count."""
    judge = made(server, tmp_path, "judge.retries=0", "judge.workers=1")
    server.faults = ["", "", "nonsense", "first", "", "", "", "first"]
    judge.preference(PAIRS)
    assert judge.account["pairs_in_both_orders"] == 3
    assert judge.account["same_in_both_orders"] == 2
    judge.preference([(prompt, second, first) for prompt, first, second in PAIRS])
    assert judge.account["pairs_in_both_orders"] == 3, "a pair counts once"


@pytest.mark.parametrize("fault", ["500", "429", "503", "cut", "slow", "nonsense", "empty", "stream", "wordless"])
def test_a_fault_that_passes_is_overcome(server, tmp_path, fault):
    server.faults = [fault] * 2
    patience = ["judge.timeout=1", "judge.retries=1000"] if fault == "slow" else []
    judge = made(server, tmp_path, "judge.workers=1", *patience)
    assert judge.preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert judge.account["unreadable"] == 0


def test_what_was_paid_for_survives_an_endpoint_that_goes_down(server, tmp_path):
    judge = made(server, tmp_path, "judge.workers=1", "judge.retries=1")
    told = judge.preference(PAIRS[:2])
    server.faults = ["500"] * 50
    with pytest.raises(ConfigError, match=r"base_url=.*4 pairs are kept in .*run the same command again") as caught:
        judge.preference(PAIRS)
    assert SECRET not in str(caught.value)
    server.faults = []
    before = len(server.asked)
    again = made(server, tmp_path)
    assert again.preference(PAIRS)[:2].tolist() == told.tolist()
    assert len(server.asked) == before + 4


def test_an_endpoint_that_is_not_there_is_a_sentence(server, tmp_path):
    judge = made(server, tmp_path, "judge.base_url=http://127.0.0.1:9/v1", "judge.retries=0")
    with pytest.raises(ConfigError, match="APIConnectionError"):
        judge.preference(PAIRS)


def test_nonsense_for_ever_is_a_tie_and_counted(server, tmp_path):
    server.faults = ["nonsense"] * 100
    judge = made(server, tmp_path, "judge.retries=1", "judge.workers=2")
    assert judge.preference(PAIRS[:1]).tolist() == [0.5]
    assert judge.account["unreadable"] == 2
    assert judge.calls == 4


def test_what_is_no_completion_is_no_verdict(server, tmp_path):
    """A page of a proxy, say, for ever: nothing is kept of it, and once the endpoint is mended it is asked again."""
    server.faults = ["empty"] * 1000
    judge = made(server, tmp_path, "judge.retries=1")
    with pytest.raises(ConfigError, match="the response is not a chat completion"):
        judge.preference(PAIRS)
    server.faults.clear()
    assert made(server, tmp_path).preference(PAIRS).tolist() == [1, 0, 0.5, 1]


def test_answers_that_cannot_be_read_stay_counted_and_are_warned_of(server, tmp_path, caplog):
    server.faults = ["nonsense"] * 1000
    made(server, tmp_path, "judge.retries=0").preference(PAIRS)
    again = made(server, tmp_path)
    assert again.preference(PAIRS).tolist() == [0.5] * 4
    assert (again.calls, again.account["unreadable"]) == (0, 8)
    assert "could not be read and count as ties" in caplog.text


def test_a_stop_asks_nothing_more(server, tmp_path, monkeypatch):
    from nlhf.judges import requests

    def stopped(_):
        while not server.asked:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(requests, "wait", stopped)
    server.faults = ["held"]
    judge = made(server, tmp_path, "judge.workers=1")
    pairs = [("why", "a" * k, "b") for k in range(2, 40)]
    with pytest.raises(KeyboardInterrupt):
        judge.preference(pairs)
    server.free.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join()
    assert len(server.asked) == 1


def test_after_a_failure_workers_that_wait_ask_nothing_more(server, tmp_path, monkeypatch):
    monkeypatch.setattr("nlhf.judges.requests.LONGEST", 3600.0)
    server.faults, server.pause = ["429+", "401", *["429"] * 50], "3600"
    started = time.monotonic()
    with pytest.raises(ConfigError):
        made(server, tmp_path, "judge.workers=2", "judge.retries=5").preference(PAIRS)
    assert time.monotonic() - started < 1800
    assert len(server.asked) <= 3


def test_an_endpoint_that_refuses_everything_is_an_error(server, tmp_path):
    with pytest.raises(ConfigError, match="refuses all it was asked"):
        made(server, tmp_path).preference([("why", "REFUSE", "a")])


def test_a_line_that_a_crash_has_cut_costs_one_verdict(server, tmp_path):
    judge = made(server, tmp_path)
    judge.preference(PAIRS)
    path = judge._ledger.path
    path.write_text(path.read_text()[:-10])
    again = made(server, tmp_path)
    assert again.preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert again.calls == 1
    assert made(server, tmp_path)._ledger.path.read_text().count("\n") == 9
    assert made(server, tmp_path).preference(PAIRS).tolist() == [1, 0, 0.5, 1]


def test_the_key_goes_to_the_endpoint_and_nowhere_else(server, tmp_path, caplog, capsys):
    server.faults = ["401"] * 3
    judge = made(server, tmp_path)
    with pytest.raises(ConfigError) as caught:
        judge.preference(PAIRS)
    server.faults.clear()  # the first one ends it, whatever the others would have met
    judge.preference(PAIRS)
    assert server.keys == {f"Bearer {SECRET}"}
    told = caplog.text + str(capsys.readouterr()) + str(caught.value) + repr(judge) + str(judge.account)
    assert SECRET not in told + str(judge.decides)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(SECRET.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    "url", ["http://me:pass@host/v1", "https://host/v1?key=abc", "host:80", "ftp://host", "http://host/v1#key=abc"]
)
def test_an_address_that_would_be_written_down_with_a_secret_is_refused(server, tmp_path, url):
    with pytest.raises(ConfigError, match=r"game\.judge\.base_url"):
        made(server, tmp_path, f"judge.base_url='{url}'")


def test_a_pair_that_is_refused_is_a_tie_in_this_process_and_the_others_are_judged(server, tmp_path, caplog):
    pairs = [*PAIRS, ("why", "REFUSE this, it is long", "a")]
    judge = made(server, tmp_path, "judge.workers=1")
    assert judge.preference(pairs).tolist() == [1, 0, 0.5, 1, 0.5]
    assert len(server.asked) == 10  # what is refused is not asked again at once
    assert judge.account["refused"] == 2
    assert "refuses 2 questions" in caplog.text
    assert "content filter" in caplog.text
    judge.preference(pairs)
    assert len(server.asked) == 10
    again = made(server, tmp_path)  # but by the next process, for nobody paid for a verdict
    again.preference(pairs)
    assert (len(server.asked), again.calls) == (12, 0)


def test_many_refusals_are_an_error_that_keeps_the_verdicts(server, tmp_path):
    judge = made(server, tmp_path, "judge.workers=1")
    with pytest.raises(
        ConfigError, match=r"BadRequestError \(.*content filter.*of 4 questions, too many .* on 4 pairs"
    ):
        judge.preference([*PAIRS, *(("why", f"REFUSE {k}", "a") for k in range(10))])
    assert made(server, tmp_path).preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert len(server.asked) == 12


def test_retries_are_within_the_pace_and_wait_as_they_are_told(server, tmp_path):
    server.faults, server.pause = ["429"] * 3, "0.5"
    judge, started = made(server, tmp_path, "judge.workers=4", "judge.requests_per_minute=600"), time.monotonic()
    assert judge.preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert len(server.asked) == 8 + 3
    assert time.monotonic() - started >= (8 + 3 - 1) * 0.1  # ten a second, whatever the retries
    asked = {}
    for words, when in zip(server.asked, server.times, strict=True):
        asked.setdefault(words, []).append(when)
    again = [pause for when in asked.values() for pause in np.diff(when)]
    assert len(again) == 3
    assert min(again) > 0.45


@pytest.mark.parametrize(
    ("asked", "attempt", "least", "most"),
    [("7", 0, 7, 7), ("600", 0, 60, 60), ("-3", 2, 0, 0), ("", 2, 2, 2), ("soon", 0, 0.5, 0.5), ("", 9, 8, 8),
     ("DATE", 0, 20, 30), ("Wed, 21 Oct 2015 07:28:00 GMT", 3, 0, 0)],
)  # fmt: skip
def test_a_pause_is_a_number_of_seconds_or_ends_at_a_date(asked, attempt, least, most):
    words = formatdate(time.time() + 30, usegmt=True) if asked == "DATE" else asked
    error = SimpleNamespace(response=SimpleNamespace(headers={"retry-after": words} if words else {}))
    assert least <= _pause(error, attempt) <= most


def test_a_cache_that_cannot_be_written_is_not_the_endpoints_fault(server, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(WriteError, match=r"cache.* cannot be written"):
        made(server, tmp_path).preference(PAIRS)


def test_verdicts_are_those_of_one_endpoint(server, tmp_path):
    made(server, tmp_path).preference(PAIRS)
    other = f"judge.base_url=http://localhost:{server.server_port}/v1"
    assert made(server, tmp_path, other)._ledger.path != made(server, tmp_path)._ledger.path


@pytest.mark.parametrize("place", [150, 180, 199])
def test_a_key_in_a_long_message_is_not_cut_in_two(server, tmp_path, place):
    told = made(server, tmp_path)._requests.failure(ValueError("x" * place + SECRET), 1)
    assert not any(SECRET[start : start + 6] in told for start in range(len(SECRET) - 6))


@pytest.mark.parametrize("usage", [
    "", "null", '"many"', "-1", "NaN", "[]", "7", "{}", '{"prompt_tokens": null}', '{"prompt_tokens": "a lot"}',
    '{"prompt_tokens": -5, "completion_tokens": NaN}', '{"prompt_tokens": Infinity}', '{"prompt_tokens": 1e400}',
    '{"prompt_tokens": {"a": [1]}, "completion_tokens": [2]}', '{"prompt_tokens": true}',
    f'{{"prompt_tokens": {"9" * 400}}}', f'{{"prompt_tokens": {"9" * 5000}}}',
])  # fmt: skip
def test_a_verdict_is_kept_whatever_its_usage_says(server, tmp_path, usage):
    """It was paid for; tokens that are no number count as 0, and the account stays a JSON object of finite numbers."""
    server.faults = [f"usage {usage}"] * 8
    judge = made(server, tmp_path, "judge.retries=0", "judge.price_in=1", "judge.price_out=1")
    assert judge.preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert json.loads(json.dumps(judge.account, allow_nan=False)) == judge.account
    assert (judge.account["tokens_in"], judge.account["tokens_out"], judge.account["unreadable"]) == (0, 0, 0)
    assert len(server.asked) == judge.calls == 8
    assert made(server, tmp_path).preference(PAIRS).tolist() == [1, 0, 0.5, 1]
    assert len(server.asked) == 8


KEYS = [
    "sk-plain-1234567890",
    "sk-\"quoted\"-'twice'",
    "sk-back\\slash\\n-and-%41-&lt;-+end",
    'a"b',
    "sk <tag> & more 12345",
]


@pytest.mark.parametrize("key", mostly_long(KEYS, KEYS[1:3]))
def test_no_spelling_of_a_key_is_shown(server, tmp_path, monkeypatch, key, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    spelled = [key, repr(key), ascii(key), repr(key.encode()), json.dumps(key), json.dumps(json.dumps(key)), quote(key),
               quote(key, safe=""), quote_plus(key), escape(key), escape(json.dumps(key)), repr(repr(key)),
               f"Bearer {key}", key.upper(), "a" * 190 + key]  # fmt: skip
    for text in spelled:
        judge = made(server, tmp_path, "judge.retries=0", "judge.workers=1")
        server.faults = [f"echo {text}"]
        with pytest.raises(ConfigError, match="AuthenticationError") as caught:
            judge.preference([(text, "aa", "a")])
        shown = str(caught.value) + "".join(traceback.format_exception(caught.value)) + caplog.text
        unescaped = shown
        for way in (unquote, unquote_plus, unescape, lambda words: words.replace("\\", "")):
            unescaped += way(shown)
        for part in (key, key.replace("\\", ""), *re.findall(r"\w{6,}", key)):
            assert part.lower() not in unescaped.lower(), text
    assert server.keys == {f"Bearer {key}"}


@pytest.mark.parametrize("key", ["sk-secret\x07-bell", "sk-secret\nsecond-line", "sk-secret-\u00e9", "sk-secret\x7f-x"])
def test_a_key_that_no_request_can_carry_is_refused_before_anything_is_sent(server, tmp_path, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY has a line break or another character") as caught:
        made(server, tmp_path).preference(PAIRS)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert not server.asked


def test_white_space_around_a_key_is_no_part_of_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"  {SECRET}\r\n")
    made(server, tmp_path).preference(PAIRS)
    assert server.keys == {f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    "content", [{"choices": 5}, {"choices": "A"}, {"choices": [{}]}, {"choices": [{"message": {"content": 7}}]},
                {"choices": [{"message": {"content": [{"type": "text", "text": "A"}]}}]}],
)  # fmt: skip
def test_a_completion_without_words_is_an_unreadable_answer(content):
    assert verdict_of(completion_of(json.dumps(content))) is None


@pytest.mark.parametrize("text", ["", "<html>busy</html>", "[]", "{}", '{"choices": []}', "null", "7", "[" * 100_000])
def test_what_has_no_choices_is_no_completion(text):
    with pytest.raises(ValueError, match="not a chat completion"):
        completion_of(text)


def test_without_a_key_openai_itself_is_not_asked(monkeypatch, server, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY")
    judge = made(server, tmp_path, "judge.base_url=null")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        judge.preference(PAIRS)


def test_questions_are_spaced():
    pace, started = Pace(600), time.monotonic()
    for _ in range(4):
        pace.wait(threading.Event())
    assert time.monotonic() - started > 0.28
    assert pace.interval == pytest.approx(0.1)


@pytest.mark.parametrize(("words", "verdict"), [
    ("A", 1), ("B.", 0), ("Answer: B", 0), ("tie", 0.5), ("A or B", None), ("a", 1), ("b.", 0), ("", None),
    ("<think>A is longer, B is not</think> B", 0), ("Answer B is better because A is dull", 0),
    ("A, as B is dull", None), ("a fine pair", None), ("A fine pair", None), ("A tie", 0.5), ("A/B", None),
    ("A & B", None), ("A = B", None), ("Not A", None), ("Neither A nor that", None), ("Answer A is worse; B", None),
    ("**B**", 0),
    ("A better answer is B", 0), ("<think>\nOkay, answer A", None), ("A. B is dull.", 1), ("B\n\nA is dull", 0),
    ("A: it is longer", 1), ("A: no", None), ("I prefer B", 0), ("A (clearly)", 1), ("Answer (B)", 0),
])  # fmt: skip
def test_what_an_answer_means(words, verdict):
    from types import SimpleNamespace

    message = SimpleNamespace(message=SimpleNamespace(content=words))
    assert verdict_of(SimpleNamespace(choices=[message])) == verdict
    assert verdict_of(SimpleNamespace(choices=[])) is None


def test_requests_are_not_logged_one_by_one(server, tmp_path, caplog):
    caplog.set_level("INFO")
    made(server, tmp_path).preference(PAIRS)
    assert len(server.asked) == 8
    assert "HTTP" not in caplog.text


def test_questions_of_a_run_do_not_depend_on_the_verdicts_that_are_there(server, tmp_path):
    """Rows of a run that is killed and resumed are those of one that was not, although it pays once."""
    first, again = made(server, tmp_path), made(server, tmp_path)
    for judge in (first, again):
        judge.preference(PAIRS)
    assert (first.question_count, first.calls) == (8, 8)
    assert (again.question_count, again.calls) == (8, 0)


def test_the_account_of_a_run_that_goes_on_is_that_of_all_its_processes(server, tmp_path, tiny_model):
    from nlhf.runner.run_one import run_one

    calls = []
    for iterations in (1, 2):
        words = [*a_run(server, tmp_path, tiny_model), f"budget.iterations={iterations}", "keep_checkpoint=true",
                 "game.judge.price_in=1"]  # fmt: skip
        with composed(words) as config:
            account = run_one(plain(config), overrides=words).summary["judge"]
        assert account["tokens_in"] == 100 * account["calls"]
        assert account["cost"] == pytest.approx(account["tokens_in"] / 1e6)
        calls.append(account["calls"])
    assert calls[1] == len(server.asked) > calls[0] > 0


def a_run(server, tmp_path, tiny_model):
    return ["game=text", "policy=causal_lm", f"policy.model={tiny_model}", "policy.max_new_tokens=4", "prox=gradient",
            "prox.contexts=2", "prox.samples=2", "game.test_prompts=3", "algorithm=nash_prox", "beta=0.1",
            "budget.queries=null", "budget.target=null", "budget.iterations=1", f"runs_dir={tmp_path / 'runs'}",
            "progress=false", "judge@game.judge=openai", "game.judge.model=small",
            f"game.judge.base_url={server.url}", f"game.judge.cache={tmp_path / 'cache'}",
            "game.judge.timeout=600"]  # fmt: skip


@pytest.mark.parametrize("fault", ["", "401"])
def test_a_run_with_it_leaves_no_key_behind(server, tmp_path, tiny_model, fault):
    """Everything that a run leaves is searched, where the endpoint says the key in its error, too."""
    from nlhf.runner.run_one import run_one

    words = a_run(server, tmp_path, tiny_model)
    server.faults = [fault] * 100 if fault else []
    with composed(words) as config:
        if fault:
            with pytest.raises(ConfigError, match="AuthenticationError") as caught:
                run_one(plain(config), overrides=words)
            assert SECRET not in str(caught.value)
        else:
            outcome = run_one(plain(config), overrides=words)
            assert outcome.status == "completed", outcome.summary["stop_reason"]
            assert outcome.summary["judge"]["calls"] > 0
            assert np.isfinite(outcome.summary["judge"]["cost"])
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
