"""`arena=true`: the policies of a study play each other after its sweep, and its report shows their ranking."""

from __future__ import annotations

import json

import pytest
from omegaconf import OmegaConf

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.analysis.arena_ranking import FILE, read_ranking
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.report import write
from nlhf.analysis.results import analyse
from nlhf.cli.compare import main
from nlhf.cli.sweep_arena import ArenaAfterSweep
from nlhf.judges.panel import Panel
from nlhf.launch.compose import composed
from nlhf.runner.run_one import run_one

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def study(text_config, tmp_path):
    """Two methods, trained for one step."""
    for algorithm in ("nash_prox", "online_ipo"):
        outcome = run_one(text_config(f"algorithm={algorithm}", "budget.iterations=1", "study=s"))
        assert outcome.status == "completed", outcome.summary["stop_reason"]
    return tmp_path / "s"


def end_of_sweep(study, *overrides):
    """Call the callback as Hydra does after a sweep of this study."""
    words = ["game=text", "policy=causal_lm", "prox=gradient", "game.test_prompts=8", f"runs_dir={study.parent}"]
    with composed([*words, "study=s", *overrides]) as config:
        config = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
    ArenaAfterSweep().on_multirun_end(config)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_all_policies_play_on_all_test_prompts_and_verdicts_are_not_asked_for_again(study, capsys, monkeypatch):
    end_of_sweep(study, "arena=true")
    ranking = read_ranking(study / "arena")
    assert [row[0] for row in ranking.rows] == ["1", "2", "3"]
    assert {row[1] for row in ranking.rows} == {"reference", "nash_prox@1", "online_ipo@1"}
    assert ranking.setup == "8 prompts, 1 completion per contestant, judged by Panel."
    printed = capsys.readouterr().out
    assert "24 new verdicts" in printed
    monkeypatch.setattr(Panel, "preference", None)
    end_of_sweep(study, "arena=true")
    assert "0 new verdicts" in capsys.readouterr().out
    assert main([str(study), "--no-report"]) == 0
    assert "In the arena (8 prompts, 1 completion per contestant, judged by Panel) " in " ".join(
        capsys.readouterr().out.split()
    )
    page = write(analyse(study, Criterion()), study).read_text()
    assert "<h2>In the arena</h2>" in page
    assert f'<td class="text">{ranking.rows[0][1]}</td>' in page


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["arena=false"], ""),
        (["arena=true", "dry_run=true"], ""),
        (["arena=true", "hydra/launcher=slurm"], "let them play: nlhf arena"),
    ],
)
def test_no_arena_without_a_sweep_that_ran_here(tmp_path, capsys, overrides, sentence):
    (tmp_path / "s").mkdir()
    end_of_sweep(tmp_path / "s", *overrides)
    assert sentence in capsys.readouterr().out
    assert not (tmp_path / "s" / "arena").exists()


@pytest.mark.parametrize("rows", [None, [["1"]], [[1, 2, 3, 4, 5]], "x"])
def test_a_damaged_ranking_is_none(tmp_path, rows):
    (tmp_path / FILE).write_text(json.dumps({"headline": "a", "setup": "b", "rows": rows}))
    assert read_ranking(tmp_path) is None
