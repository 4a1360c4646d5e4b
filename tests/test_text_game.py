"""`game=text policy=causal_lm` as a user runs it, on a tiny model in a folder: rows, files, resuming, judges."""
# ruff: noqa: E402 (the extra may be missing)

from __future__ import annotations

import html
import json
import shutil
import socket

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.arena.contest import hold
from nlhf.arena.model import Model
from nlhf.budget import Schedule
from nlhf.cli import compare as analysis
from nlhf.cli import exploit
from nlhf.config import ConfigError, build
from nlhf.io.inputs import InputFile
from nlhf.judges.classifier import RewardModel
from nlhf.judges.panel import Panel
from nlhf.language import scoring
from nlhf.language.estimates import estimates, win_rates
from nlhf.language.measure import TextMeasure, distinct
from nlhf.launch.compose import composed, plain
from nlhf.models import prompt_files
from nlhf.models.content import InputDataset, InputModel
from nlhf.models.prompts import bundled_prompts
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from nlhf.stats.clusters import clustered_mean
from nlhf.stats.proportions import clopper_pearson
from tests.selection import mostly_long
from tests.test_resume import signalling

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(outcome):
    import pandas as pd

    return pd.read_csv(outcome.folder / "metrics.csv").drop(columns=["seconds", "judge_calls"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_run_leaves_rows_texts_and_an_adapter_that_peft_loads(text_config, tiny_model):
    outcome = run_one(text_config())
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    table = rows(outcome)
    assert table["iteration"].tolist() == [0, 4]
    assert table["queries"].tolist() == [0, 24]  # 4 steps, 3 prompts, 2 pairs each, one query a pair
    assert table["test_kl_to_reference"].iloc[0] == 0
    assert table["test_kl_to_reference"].iloc[-1] != 0
    assert table["exploitability"].isna().all()
    assert (table["win_rate_low"] <= table["test_win_rate_vs_reference"]).all()
    entries = [json.loads(line) for line in (outcome.folder / "completions.jsonl").read_text().splitlines()]
    assert len(entries) == 8
    assert entries[0].keys() == {"prompt", "reference", "policy", "preference", "win_rate"}
    from peft import PeftModel

    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    tokens = torch.tensor([[2, 4, 5]])
    plain_logits = base(tokens).logits
    loaded = PeftModel.from_pretrained(base, outcome.folder / "policy").eval()
    assert (loaded(tokens).logits - plain_logits).abs().max() > 1e-4
    saved = torch.load(outcome.folder / "checkpoint.pt", weights_only=False)["state"].policy.weights
    own = {name: value for name, value in loaded.named_parameters() if ".lora_" in name}
    assert all(torch.allclose(own[name], value[0]) for name, value in saved.items())


@pytest.mark.parametrize("algorithm", ["nash_prox", "nash_md_pg", "nash_mp", "online_dpo", "sppo", "ipo_md", "inpo",
                                       "nash_ema_pg", "online_ipo", "optimistic", "xpo", "enpo", "mnpo"])  # fmt: skip
def test_every_algorithm_of_the_gradient_engine_takes_steps(text_config, algorithm):
    step = ["algorithm.step_size=1"] if algorithm == "sppo" else []
    outcome = run_one(text_config(f"algorithm={algorithm}", "budget.iterations=2", "prox.inner_steps=2", *step))
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    assert rows(outcome)["test_kl_to_reference"].iloc[-1] != 0


def test_all_weights_can_be_trained(text_config):
    outcome = run_one(text_config("policy.lora=false", "budget.iterations=2"))
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    again = transformers.AutoModelForCausalLM.from_pretrained(outcome.folder / "policy")
    saved = torch.load(outcome.folder / "checkpoint.pt", weights_only=False)["state"].policy.weights
    own = dict(again.named_parameters())
    assert all(torch.equal(own[name], value[0]) for name, value in saved.items())


@pytest.mark.parametrize("algorithm", mostly_long(["nash_prox", "nash_md_pg", "enpo", "mnpo"], {"nash_md_pg", "mnpo"}))
def test_a_run_that_is_stopped_goes_on_bit_for_bit(text_config, algorithm):
    whole = run_one(text_config(f"algorithm={algorithm}", "study=whole"))
    stopped = run_one(text_config(f"algorithm={algorithm}", "study=stopped"), signalling(2))
    assert stopped.status == "interrupted"
    again = run_one(text_config(f"algorithm={algorithm}", "study=stopped"))
    assert rows(again).equals(rows(whole))
    weights = [(o.folder / "policy" / "adapter_model.safetensors").read_bytes() for o in (again, whole)]
    assert weights[0] == weights[1]


def by_prompt(outcome):
    import pandas as pd

    return pd.read_csv(outcome.folder / "by_prompt.csv", dtype={"win_rates": str, "divergences": str})


def test_every_row_has_the_win_rate_and_the_divergence_of_every_test_prompt(text_config):
    outcome = run_one(text_config("game.completions=3"))
    table, measured = rows(outcome), by_prompt(outcome)
    assert measured["iteration"].tolist() == table["iteration"].tolist() == [0, 4]
    for name, column in (("win_rates", "test_win_rate_vs_reference"), ("divergences", "test_kl_to_reference")):
        cells = [np.array(cell.split(), float) for cell in measured[name]]
        assert {len(cell) for cell in cells} == {8}
        assert [cell.mean() for cell in cells] == pytest.approx(table[column].tolist(), rel=1e-4)
    entries = [json.loads(line) for line in (outcome.folder / "completions.jsonl").read_text().splitlines()]
    assert [entry["win_rate"] for entry in entries] == pytest.approx(
        list(map(float, cells_of_last(measured))), abs=1e-4
    )


def cells_of_last(measured):
    return measured["win_rates"].iloc[-1].split()


def test_a_resumed_run_has_the_same_numbers_of_prompts(text_config, monkeypatch):
    """The row at which it was stopped is not on the schedule."""
    monkeypatch.setattr(TextMeasure, "schedule", Schedule(first=(0, 3), decade=(10,)))
    whole = run_one(text_config("study=whole"))
    run_one(text_config("study=stopped"), signalling(2))
    again = run_one(text_config("study=stopped"))
    assert by_prompt(again).equals(by_prompt(whole))
    assert by_prompt(again)["iteration"].tolist() == [0, 3, 4]


def test_calls_of_the_judge_are_counted_across_a_stop(text_config):
    whole = run_one(text_config("study=whole"))
    stopped = run_one(text_config("study=stopped"), signalling(2))
    before = stopped.summary["final"]["judge_calls"]
    again = run_one(text_config("study=stopped"))
    assert 0 < before < whole.summary["final"]["judge_calls"]
    assert calls(again) == calls(whole)


def test_calls_of_the_judge_do_not_count_the_row_at_which_a_run_was_stopped(text_config, monkeypatch):
    """It is not on the schedule, and the resumed run drops it."""
    monkeypatch.setattr(TextMeasure, "schedule", Schedule(first=(0, 4, 8), decade=(10,)))
    whole = run_one(text_config("study=whole", "budget.iterations=8"))
    run_one(text_config("study=stopped", "budget.iterations=8"), signalling(2))
    again = run_one(text_config("study=stopped", "budget.iterations=8"))
    assert calls(again) == calls(whole)
    longer = run_one(text_config("study=longer", "budget.iterations=6"))
    longer = run_one(text_config("study=longer", "budget.iterations=8"))
    assert calls(longer) == calls(whole)


def calls(outcome):
    import pandas as pd

    return pd.read_csv(outcome.folder / "metrics.csv")["judge_calls"].tolist()


def test_a_run_that_is_out_of_memory_says_what_to_do_and_goes_on_with_less(text_config, monkeypatch):
    with monkeypatch.context() as patched:
        micro_batch, count = scoring.micro_batch, iter(range(1000))

        def hungry(model, weights, rows):
            if next(count) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            return micro_batch(model, weights, rows)

        patched.setattr(scoring, "micro_batch", hungry)
        failed = run_one(text_config("checkpoint_seconds=0"))
    assert failed.status == "failed"
    assert (
        "give a smaller policy.micro_batch or policy.recompute=true, with which the run goes on"
        in failed.summary["stop_reason"]
    )
    again = run_one(text_config("policy.micro_batch=1"))
    assert (again.folder, again.status) == (failed.folder, "completed")
    assert rows(again).round(4).equals(rows(run_one(text_config("study=whole"))).round(4))


def test_no_network_is_asked_for(text_config, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert run_one(text_config("budget.iterations=1")).status == "completed"


def test_the_report_shows_completions_side_by_side(text_config):
    outcome = run_one(text_config("budget.iterations=1"))
    (outcome.folder / "exploiter.json").write_text('{"lower_bound": 0.125}')
    assert analysis.main([str(outcome.folder.parent)]) == 0
    page = (outcome.folder.parent / "report.html").read_text()
    entry = json.loads((outcome.folder / "completions.jsonl").read_text().splitlines()[0])
    assert "<h2>Completions</h2>" in page
    assert "queries to 0.4" in page  # pairs lost: a win rate of 0.6
    assert "at least 0.125" in page
    assert html.escape(entry["prompt"], quote=False) in page
    assert html.escape(entry["policy"], quote=False) in page


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("policy.model=/nowhere", "policy.model=/nowhere cannot be loaded"),
        ("seeds=2", "one seed at a time, not 2: sweep seeds="),
        ("policy.max_new_tokens=64", "more than the model's 64"),
        ("policy.lora_targets=[nothing]", "are not layers of"),
        ("game.test_prompts=300", "leaves none of the 300 prompts"),
        ("policy.top_p=0", "policy.top_p=0"),
        ("game=tversky", "needs prompts to complete: set game=text"),
        ("policy=tabular", "needs a policy that writes text: set policy=causal_lm"),
        ("algorithm=mpo", "needs actions that can be listed"),
        (
            "prox.alpha=0.1",
            "prox.surrogate=ipo does not have: set prox.alpha=0, or prox.surrogate=logistic",
        ),
        ("prox=exact", "prox=exact needs a game that answers y -> P(y > policy) for all y"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(text_config, override, sentence):
    alone = {"game=tversky", "policy=tabular", "prox=exact"}
    with pytest.raises(ConfigError) as refused:
        run_one(_only(override) if override in alone else text_config(override))
    assert "\n" not in str(refused.value)
    assert sentence in str(refused.value)


def _only(override):
    choices = {"game=tversky": ["policy=causal_lm", "prox=gradient"], "policy=tabular": ["game=text", "prox=gradient"],
               "prox=exact": ["game=text", "policy=causal_lm"]}[override]  # fmt: skip
    with composed([*choices, override]) as made:
        return plain(made)


@pytest.fixture
def file_of(tmp_path):
    """Writes prompts to a jsonl file, and returns its config key."""

    def written(*lines):
        path = tmp_path / "prompts.jsonl"
        path.write_text("\n".join(json.dumps({"prompt": line}) if line else "" for line in lines) + "\n")
        return f"game.path={path}"

    return written


LONG = "tea " * 70


def test_prompts_that_are_too_long_are_named_by_their_lines(text_config, file_of):
    key = file_of("why", "", LONG, "the sea", "bread", LONG, "a bird")
    with pytest.raises(ConfigError) as refused:
        run_one(text_config(key, "game.test_prompts=2"))
    assert f"{key}: line 3: the prompt 'tea tea" in str(refused.value)
    assert "1 more are too long (6): remove them, or set game.long_prompts=skip." in str(refused.value)


def test_a_prompt_that_leaves_too_little_room_names_the_length_that_fits(text_config, file_of):
    key = file_of("why", "tea " * 60, "the sea", "a bird")
    with pytest.raises(ConfigError, match=r"or give policy\.max_new_tokens=4 or less") as refused:
        run_one(text_config(key, "game.test_prompts=1"))
    assert "has 60 tokens" in str(refused.value)
    run_one(text_config(key, "game.test_prompts=1", "policy.max_new_tokens=4", "budget.iterations=1"))


def test_prompts_that_are_too_long_are_left_out_on_request(text_config, file_of, caplog):
    """Those for testing are the last lines of the file whatever is left out."""
    key = file_of("why", "", LONG, "the sea", "bread", LONG, "a bird")
    words = [key, "game.test_prompts=2", "game.long_prompts=skip", "budget.iterations=1"]
    outcome = run_one(text_config(*words))
    assert f"{key}: line 3, 6: 2 of 6 prompts are left out" in caplog.text
    entries = [json.loads(line) for line in (outcome.folder / "completions.jsonl").read_text().splitlines()]
    assert [entry["prompt"] for entry in entries] == ["a bird"]
    assert run_one(text_config(*words[:-2], "budget.iterations=1")).skipped  # the key decides no result
    with pytest.raises(ConfigError, match="leaves no prompt for testing"):
        run_one(text_config(file_of("why", LONG), "game.test_prompts=1", "game.long_prompts=skip"))


def test_messages_that_the_template_refuses_are_named_by_their_line(text_config, file_of, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" \
               "{{ m['content'] }} {% endfor %}"  # fmt: skip
    (folder / "chat_template.jinja").write_text(template)
    key = file_of("why", "", [{"role": "system", "content": "be kind"}, {"role": "user", "content": "why"}])
    sentence = r"line 3: policy.model=.* refuses messages of the roles system, user \(no system\): change the roles"
    with pytest.raises(ConfigError, match=sentence):
        run_one(text_config(key, f"policy.model={folder}", "game.test_prompts=1"))


def test_test_prompts_that_are_trained_on_are_a_warning(text_config, file_of, caplog):
    key = file_of("why", "", "the sea", "a bird", "moon", [{"role": "user", "content": "why "}])
    run_one(text_config(key, "game.test_prompts=2", "budget.iterations=1"))
    assert f"{key}: line 6: 1 of 2 test prompts are also training prompts" in caplog.text


def test_test_prompts_are_those_of_their_file(text_config, file_of, tmp_path):
    """They are the last ones of the file, and all others are trained on."""
    key, path = file_of("why", "the sea", "a bird"), tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("moon", "bread", "tea")))
    words = [key, f"game.test_path={path}", "budget.iterations=1"]
    outcome = run_one(text_config(*words, "game.test_prompts=2"))
    entries = [json.loads(line) for line in (outcome.folder / "completions.jsonl").read_text().splitlines()]
    assert [entry["prompt"] for entry in entries] == ["bread", "tea"]
    assert len(specify(text_config(*words, "game.test_prompts=2")).game.training) == 3
    with pytest.raises(ConfigError, match=r"game.test_prompts=4 is more than the 3 prompts of game.test_path="):
        run_one(text_config(*words, "game.test_prompts=4"))


def test_copies_of_prompts_are_left_out_on_request(text_config, file_of, caplog):
    key = file_of("why", "moon", "why ", "the sea", "moon", "a bird", "moon", "a bird")
    kept, dropped = (specify(text_config(key, "game.test_prompts=3", f"game.duplicates={word}"))
                     for word in ("keep", "drop"))  # fmt: skip
    assert kept.game.training.numbers == [1, 2, 3, 4, 5]
    assert (dropped.game.training.numbers, dropped.game.test.numbers) == ([1, 4], [6, 7])
    assert kept.fingerprint != dropped.fingerprint
    run_one(text_config(key, "game.test_prompts=3", "game.duplicates=drop", "budget.iterations=1"))
    assert "game.duplicates=drop: 4 of 8 prompts are left out as copies" in caplog.text
    assert "also training prompts" not in caplog.text
    with pytest.raises(ConfigError, match="leaves no prompt for training, as all are test prompts"):
        run_one(text_config(file_of("why", "why"), "game.test_prompts=1", "game.duplicates=drop"))


def test_what_to_do_next_is_about_language_models(text_config, capsys):
    from nlhf.runner.console import show_run

    outcome = run_one(text_config("budget.iterations=1", "study=my study"))
    show_run(outcome.folder, outcome.summary, skipped=False)
    shown = capsys.readouterr().out
    assert f"next  nlhf arena '{outcome.folder}'" in shown
    assert f"nlhf exploit '{outcome.folder}'" in shown
    assert "random_tournament" not in shown
    assert hold([str(outcome.folder)], ["redraws=20", "most_prompts=2"]).ranking.pooled.items
    assert run_one(text_config("budget.iterations=1", "study=my study")).skipped


def test_empty_completions_are_visible(text_config, capsys):
    from nlhf.runner.console import show_run

    outcome = run_one(text_config("budget.iterations=1"))
    entry = {"prompt": "why", "reference": " ", "policy": "", "preference": 0.5}
    (outcome.folder / "completions.jsonl").write_text(json.dumps(entry) + "\n")
    show_run(outcome.folder, outcome.summary, skipped=False)
    assert capsys.readouterr().out.count("(empty)") == 2


# --- what is saved ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [True, False])
def test_saved_policies_keep_the_end_tokens_and_get_no_padding_token(text_config, tiny_model, tmp_path, lora):
    """transformers and peft load them with what the base model has; the arena draws from them as the run does."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    settings = {"eos_token_id": [0, 5], "temperature": 0.6, "do_sample": False}  # transformers warns, and saves it not
    (folder / "generation_config.json").write_text(json.dumps(settings))
    outcome = run_one(text_config(f"policy.model={folder}", f"policy.lora={lora}", "budget.iterations=1"))
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    saved = outcome.folder / "policy"
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<end>", None)
    options = build(text_config()["policy"], "policy")
    assert set(Model("a", InputModel(str(saved)), options, "cpu").load().end_tokens) == {0, 5}
    if not lora:
        assert transformers.GenerationConfig.from_pretrained(saved).eos_token_id == [0, 5]


# --- a trained exploiter ---------------------------------------------------------------------------------------------


def test_an_exploiter_gains_on_a_policy_and_says_so(text_config, capsys):
    outcome = run_one(text_config("budget.iterations=1", "game.judge.criteria=[length]", "game.judge.words=1",
                                  "beta=0.01", "prox.learning_rate=0.02", "prox.samples=16",
                                  "policy.lora=false"))  # fmt: skip
    assert exploit.main([str(outcome.folder), "--steps", "30", "--completions", "8"]) == 0
    found = json.loads((outcome.folder / "exploiter.json").read_text())
    assert found["lower_bound"] == pytest.approx(found["mean"] - 1.645 * found["standard_error"])
    assert found["lower_bound"] > 0.1
    assert f"at least {found['lower_bound']:.3f}" in capsys.readouterr().out
    assert exploit.main([str(outcome.folder.parent)]) == 2
    assert "has no readable .hydra/config.yaml" in capsys.readouterr().err


def test_prompts_of_a_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    chat = [{"role": "user", "content": "hello"}]
    path.write_text(json.dumps({"prompt": "why"}) + "\n\n" + json.dumps({"prompt": chat, "id": 3}) + "\n")
    assert prompt_files.read(InputFile(str(path), "game.path")) == ["why", chat]
    for wrong in ('{"text": "why"}', "why", '{"prompt": ""}', '{"prompt": [{"role": "user"}]}'):
        path.write_text(wrong + "\n")
        with pytest.raises(ConfigError, match="line 1"):
            prompt_files.read(InputFile(str(path), "game.path"))


def test_prompts_of_a_dataset(tmp_path):
    pytest.importorskip("datasets")
    chat = [{"role": "user", "content": "hello"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"prompt": p, "id": 1}) + "\n" for p in (chat, chat)))
    assert prompt_files.of_dataset(InputDataset(str(tmp_path), "game.dataset"), "train") == [chat, chat]
    with pytest.raises(ConfigError, match=r"game.split=other cannot be loaded"):
        prompt_files.of_dataset(InputDataset(str(tmp_path), "game.dataset"), "other")
    (tmp_path / "train.jsonl").write_text('{"text": "why"}\n')
    with pytest.raises(ConfigError, match="columns text and no `prompt`"):
        prompt_files.of_dataset(InputDataset(str(tmp_path), "game.dataset"), "train")


def test_two_sources_of_prompts_are_refused(text_config, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "why"}\n')
    with pytest.raises(ConfigError, match="both name prompts"):
        run_one(text_config(f"game.path={tmp_path / 'p.jsonl'}", "game.dataset=other"))


def test_bundled_prompts_are_distinct_and_always_the_same():
    assert len({*bundled_prompts()}) == len(bundled_prompts()) == 800
    assert bundled_prompts() == bundled_prompts()
    assert bundled_prompts(300) == bundled_prompts()[-300:]
    assert bundled_prompts(300)[:2] == ["Say something kind about mountains.", "Why do people like the wind?"]


def test_further_bundled_prompts_are_trained_on_and_have_other_topics():
    """With 256 test prompts there are more than 256 to train on, and no topic of the further ones is tested."""
    further, last = bundled_prompts()[:500], bundled_prompts(300)
    topics = {
        prompt.partition("about ")[2].rstrip(".") for prompt in last if prompt.startswith("Give a short fact about ")
    }
    assert len(topics) == 30
    assert not [prompt for prompt in further if any(topic in prompt for topic in topics)]


def test_more_bundled_prompts_are_another_run_and_older_configs_have_300(text_config):
    config = text_config()
    older = config | {"game": {key: value for key, value in config["game"].items() if key != "bundled_prompts"}}
    assert specify(older).fingerprint == specify(config).fingerprint
    assert specify(text_config("game.bundled_prompts=400")).fingerprint != specify(config).fingerprint


@pytest.mark.parametrize("count", [0, 801])
def test_other_numbers_of_bundled_prompts_are_refused(text_config, count):
    with pytest.raises(ConfigError, match=f"game.bundled_prompts={count} is out of range: give 1 to 800"):
        run_one(text_config(f"game.bundled_prompts={count}"))


# --- judges ----------------------------------------------------------------------------------------------------------


def test_a_panel_is_antisymmetric_cached_and_prefers_in_cycles():
    panel = Panel(criteria=["diversity", "length", "sentiment"], words=4, margin=0.0)
    pytest.importorskip("vaderSentiment")
    texts = ["good good good good", "bad tree moon sea sun", "old tree good good good good good good good", ""]
    pairs = [("p", a, b) for a in texts for b in texts]
    told = panel.preference(pairs).reshape(4, 4)
    assert (told + told.T == 1).all()
    assert panel.calls == 4
    panel.preference(pairs)
    assert panel.calls == 4
    assert set(np.unique(told * 6)) <= set(range(7))


class _Loud(RewardModel):
    """A reward model whose rewards are lengths, or what it is told."""

    value = None

    @property
    def _loaded(self):
        class Plain:
            chat_template = None

        return Plain(), None

    def _logits(self, texts):
        return np.array([float(len(text)) if self.value is None else self.value for text in texts])


def test_a_reward_model_is_bradley_terrys():
    judge = _Loud(model="m", scale=1.0, batch=4, trust_remote_code=False)
    told = judge.preference([("p", "aaa", "a"), ("p", "a", "aaa"), ("p", "b", "a")])
    assert told == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2)), 0.5])
    assert judge.calls == 3


def test_clopper_and_pearson():
    """Against their paper's definition: the tail masses at the ends are 2.5% each."""
    from scipy.stats import binom

    low, high = clopper_pearson(7, 20)
    assert binom.sf(6, 20, low) == pytest.approx(0.025)
    assert binom.cdf(7, 20, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 5)[0] == 0
    assert clopper_pearson(5, 5)[1] == 1


def test_intervals_count_prompts_and_not_their_completions():
    """Completions of one prompt depend on each other: four copies of a completion are no more evidence than one."""
    rng = np.random.default_rng(0)
    advantage, divergence = rng.uniform(-0.5, 0.5, (12, 1)), rng.exponential(size=(12, 1))
    once, copied = estimates(advantage, divergence), estimates(np.repeat(advantage, 4, 1), np.repeat(divergence, 4, 1))
    assert copied == pytest.approx(once)
    assert once["win_rate_low"] < once["test_win_rate_vs_reference"] < once["win_rate_high"]
    assert once["kl_low"] < once["test_kl_to_reference"] < once["kl_high"]
    assert once["preference_vs_reference"] == pytest.approx(advantage.mean() + 0.5)


def test_ties_count_one_half():
    assert win_rates(np.array([[0.0, 0.0], [0.1, 0.0], [0.1, -0.2], [-0.1, -0.1]])).tolist() == [0.5, 0.75, 0.5, 0]


def test_the_last_row_is_the_mean_of_the_results_of_each_prompt(text_config):
    outcome = run_one(text_config("game.completions=4", "budget.iterations=1"))
    entries = [json.loads(line) for line in (outcome.folder / "completions.jsonl").read_text().splitlines()]
    rates = np.array([entry["win_rate"] for entry in entries])
    assert set(8 * rates) <= set(range(9))  # four completions of one half each at least
    final, expected = outcome.summary["final"], clustered_mean(rates, np.ones(8))
    assert final["test_win_rate_vs_reference"] == pytest.approx(expected.value)
    assert (final["win_rate_low"], final["win_rate_high"]) == (
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
    assert final["kl_low"] < final["test_kl_to_reference"] < final["kl_high"]


def test_draws_from_another_distribution_are_a_caveat(text_config):
    outcome = run_one(text_config("policy.top_p=0.9", "budget.iterations=1"))
    assert "completions are drawn with policy.top_p=0.9" in outcome.summary["method"]["caveat"]


def test_distinct_pairs_of_words():
    assert distinct(["a b a b", "a b"], 2) == 2 / 4
    assert np.isnan(distinct([""], 2))
