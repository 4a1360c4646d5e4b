"""Leader and follower as one language model with two prompts, and their steps from sampled answers."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures.presets import stackelberg_text
from nlhf.analysis.results import analyse
from nlhf.cli import exploit
from nlhf.config import ConfigError
from nlhf.games.feedback import Feedback
from nlhf.language.game import TextGame
from nlhf.language.policy import CausalLMPolicy
from nlhf.language.reading import first_turn
from nlhf.language.refinement import ANSWERS, LeaderMeasure
from nlhf.policies.tabular import LeaderPolicy, TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx
from nlhf.runner.run_one import run_one
from tests.adversarial import log_policy, matrix_game, uniform
from tests.analysis.test_layout import check
from tests.composing import configured
from tests.test_dialogue import Table, talking
from tests.test_language_model import everything, other
from tests.test_resume import signalling

pytestmark = pytest.mark.usefixtures("one_thread")
BETA, TAU, STEP, REFINE = 0.3, 0.2, 1.5, "go"


def options(**changed):
    chosen = {"surrogate": "policy_gradient", "inner_steps": 1, "contexts": 16, "samples": 8, "optimiser": "sgd",
              "baseline": "leave_one_out", "beta_dpo": 4.0, "learning_rate": 1.0, "decay_steps": None,
              "momentum": 0.0, "clip": None, "carry": False} | changed  # fmt: skip
    return GradientProx(**chosen)


def strength(value, seeds=1):
    return torch.full((seeds, 1, 1), value, dtype=torch.float64)


class Problem:
    """Two prompts, a leader with other weights than the reference's, and tables over all answers."""

    def __init__(self, tau=TAU):
        self.model, self.tau = talking(), tau
        self.turns = tuple(first_turn(self.model, prompt) for prompt in ("abc", "ba"))
        self.game = TextGame(Table(), self.model, self.turns)
        self.all = torch.tensor([self.model.number(answer) for answer in everything(4, 1)]).expand(1, 2, -1)
        self.base = CausalLMPolicy(None, None, self.model, self.turns, REFINE)
        self.policy = self.base.trained(other(self.model, 1, 0.3), None).with_follower()
        self.contexts = torch.arange(2)[None]

    def leader(self, policy, parameters=None):
        """log pi, (2, Y)."""
        return policy.at(None, parameters).log_prob(self.all)[0]

    def follower(self, policy, parameters=None):
        """log omega(second|first), (2, Y, Y)."""
        after = policy.after(self.contexts, self.all, parameters)
        return after.log_prob(self.all[:, :1].expand(1, 2 * self.all.shape[-1], -1)).view(2, -1, self.all.shape[-1])

    @property
    def wins(self):
        """P(first > second), (2, Y, Y)."""
        texts = [self.game.text(0, number) for number in self.all[0, 0].tolist()]
        rows = [Table().preference([(turn.text, a, b) for a in texts for b in texts]) for turn in self.turns]
        return torch.tensor(np.array(rows)).view(2, len(texts), -1)

    @property
    def values(self):
        """V^omega, (2, Y), from its definition."""
        omega, base = self.follower(self.policy).detach(), self.follower(self.base)
        return (omega.exp() * (self.wins + self.tau * (omega - base))).sum(-1)

    def engine(self, **changed):
        feedback = Feedback(None, "given", 0.0, 0.0)
        parts = Parts(self.game, self.base, strength(BETA), [0], feedback, follower_beta=strength(self.tau))
        return options(**changed).pair_engine(parts)


def exact_gradient(problem, role):
    parameters = {name: value.clone().requires_grad_() for name, value in problem.policy.parameters.items()}
    pi = problem.leader(problem.policy, parameters if role == "lead" else None)
    if role == "lead":
        divergence = (pi.exp() * (pi - problem.leader(problem.base))).sum(-1)
        objective = (pi.exp() * problem.values).sum(-1) - BETA * divergence
    else:
        omega = problem.follower(problem.policy, parameters)
        gains = problem.wins.mT - problem.tau * (omega - problem.follower(problem.base))
        objective = (pi.detach().exp() * (omega.exp() * gains).sum(-1)).sum(-1)
    return flat(torch.autograd.grad(objective.mean(), list(parameters.values())))


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize(("role", "tau"), [("follow", TAU), ("lead", 1.0)])
def test_the_mean_of_sampled_gradients_is_the_gradient_of_the_objective(role, tau):
    """The objectives of leader and follower by enumeration of all answers, differentiated by autograd."""
    problem = Problem(tau)
    exact, prox, steps = exact_gradient(problem, role), problem.engine(), []
    for _ in range(60):
        after = getattr(prox, role)(problem.policy, strength(STEP))
        pairs = zip(after.parameters.values(), problem.policy.parameters.values(), strict=True)
        steps.append(flat([new - old for new, old in pairs]))
    steps = torch.stack(steps)
    along = steps @ exact / exact.square().sum()  # each has the mean 1
    error = along.std() / len(steps) ** 0.5
    assert exact.norm() > 0.01
    assert error < 0.15
    assert abs(along.mean() - 1) < 4 * error
    assert (steps.mean(0) - along.mean() * exact).norm() < 1.5 * steps.std(0).norm() / len(steps) ** 0.5


def test_a_pair_is_a_query():
    prox, problem = Problem().engine(), Problem()
    prox.lead(prox.follow(problem.policy, strength(STEP)), strength(STEP))
    assert prox.queries.tolist() == [2 * 16 * 8]


def test_the_follower_reads_the_answer_and_the_sentence():
    problem = Problem()
    read = problem.model.tokenizer(f"\n\n{REFINE}\n\n", add_special_tokens=False, verbose=False).input_ids
    after = problem.policy.after(problem.contexts, problem.all)
    answers = [problem.model.answers(number)[0] for number in problem.all[0, 0].tolist()]
    expected = [
        (*turn.tokens, *(token for token in answer if not problem.model.ended((token,))), *read)
        for turn in problem.turns
        for answer in answers
    ]
    assert [turn.tokens for turn in after.turns] == expected
    assert problem.follower(problem.policy).exp().sum(-1).allclose(torch.ones(2, 4, dtype=torch.float64))


def test_columns_are_estimates_of_what_they_name():
    """Against enumeration; with two prompts the rows have no intervals."""
    problem, count = Problem(), 3000
    measure = LeaderMeasure(problem.game, problem.base, count, 0, BETA, TAU)
    row = {name: value.item() for name, value in measure(problem.policy, None).items()}
    pi, omega = problem.leader(problem.policy).detach(), problem.follower(problem.policy).detach()
    refined = (pi.exp()[..., None] * omega.exp() * problem.wins.mT).sum((1, 2)).mean().item()
    kl = (omega.exp() * (omega - problem.follower(problem.base))).sum(-1)
    value = (pi.exp() * (problem.values - BETA * (pi - problem.leader(problem.base)))).sum(-1).mean().item()
    assert abs(refined - 0.5) > 0.01
    assert row["refinement_win_rate"] == pytest.approx(refined, abs=4 * 0.5 / (2 * count) ** 0.5)
    assert row["follower_kl_to_reference"] == pytest.approx((pi.exp() * kl).sum(-1).mean().item(), rel=0.05)
    assert row["leader_value"] == pytest.approx(value, abs=0.025)


def test_series_refine_the_answer_before_and_the_judge_chooses_the_best():
    problem, count, calls = Problem(), 800, []

    class Recording(LeaderMeasure):
        def _refined(self, follower, answers, number):
            calls.append((follower, answers, super()._refined(follower, answers, number)))
            return calls[-1][-1]

    entries = Recording(problem.game, problem.base, count, 0, BETA, TAU).final_texts(problem.policy)
    assert len(calls) == ANSWERS - 1
    assert all(answers is before for (*_, before), (_, answers, _) in pairwise(calls))
    follower, answers, _ = calls[-1]
    assert follower.turns == problem.policy.after(problem.contexts, answers).turns
    pi, omega = problem.leader(problem.policy).detach().exp(), problem.follower(problem.policy).detach().exp()
    share, base = problem.wins.sub(0.5).sign() / 2 + 0.5, problem.leader(problem.base).exp()
    beats = (share * base[:, None]).sum(-1)  # the reference's completions
    chain, best = [pi], [torch.diag_embed(pi)]  # of the last answer; of the best and the last answer
    for _ in range(1, ANSWERS):
        chain.append((chain[-1][:, None] @ omega)[:, 0])
        moved, replaced = best[-1] @ omega, torch.zeros_like(best[-1])
        for one, two in np.ndindex(4, 4):
            better = (problem.wins[:, two, one] > 0.5).long()
            for x in range(2):
                replaced[x, (one, two)[better[x]], two] += moved[x, one, two]
        best.append(replaced)
    for x, entry in enumerate(entries):
        assert entry["refined"] == pytest.approx([(step[x] @ beats[x]).item() for step in chain], abs=0.08)
        assert entry["best_refined"] == pytest.approx([(step[x].sum(-1) @ beats[x]).item() for step in best], abs=0.08)
        assert entry["refined"][0] == entry["best_refined"][0] == entry["best_sampled"][0] == entry["win_rate"]
    assert entries[0]["best_sampled"] != entries[0]["best_refined"]


# --- steps from sampled answers, on tables ---------------------------------------------------------------------------


def tables(seeds):
    rng = np.random.default_rng(0)
    game = matrix_game(np.stack([uniform(3, rng), uniform(3, rng)]))
    reference, leader = (TabularPolicy(table[None].expand(seeds, -1, -1)) for table in log_policy(0.7, (2, 2, 3), rng))
    follower = TabularPolicy(log_policy(0.7, (1, 6, 3), rng).expand(seeds, -1, -1))
    parts = Parts(game, reference, strength(BETA, seeds), list(range(seeds)), Feedback(1, "given", 0.0, 0.0),
                  follower_beta=strength(TAU, seeds))  # fmt: skip
    return parts, LeaderPolicy(leader.log_probabilities, follower=follower)


@pytest.mark.parametrize("role", ["follow", "lead"])
def test_many_gradient_steps_approach_the_exact_proximal_step(role):
    """From single votes; the mean over seeds, as every seed goes on moving about its solution."""
    from nlhf.prox.exact import ClosedForm

    parts, policy = tables(100)
    prox = options(contexts=None, samples=10, inner_steps=150, learning_rate=0.4).engine(parts)
    step = strength(STEP, 100)
    after, exact = getattr(prox, role)(policy, step), getattr(ClosedForm(parts), role)(policy, step)
    if role == "follow":
        after, exact, policy = after.follower, exact.follower, policy.follower
    mean, solution = after.probabilities.mean(0), exact.probabilities[0]
    moved = (policy.probabilities[0] - solution).abs().max()
    assert moved > 0.1
    assert (mean - solution).abs().max() < 0.25 * moved


def test_a_run_with_votes_on_tables_approaches_the_solution(tmp_path):
    words = ["algorithm=stackelberg", "prox=gradient", "game=rock_paper_scissors", "beta=0.2", "seeds=4",
             "feedback=vote", "budget.iterations=300", "budget.queries=null", "budget.target=null",
             "prox.learning_rate=0.02", "prox.samples=16", f"runs_dir={tmp_path}"]  # fmt: skip
    import pandas as pd

    outcome = run_one(configured(*words))
    gaps = pd.read_csv(outcome.folder / "metrics.csv").groupby("iteration")["stackelberg_gap"].mean()
    assert gaps.iloc[-1] < 0.1 * gaps.iloc[0]


# --- as a user runs it -----------------------------------------------------------------------------------------------


@pytest.fixture
def leader_config(text_config):
    def made(*overrides, **choices):
        words = ["algorithm=stackelberg", "solution=stackelberg", *overrides]
        return text_config("game.judge.criteria=[diversity,length]", *words, **choices)

    return made


def test_a_run_has_rows_and_texts_of_the_follower(leader_config):
    import pandas as pd

    outcome = run_one(leader_config("budget.iterations=2", "policy.max_new_tokens=4"))
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    last = pd.read_csv(outcome.folder / "metrics.csv").iloc[-1]
    assert last["follower_kl_to_reference"] > 0
    assert last["refinement_low"] <= last["refinement_win_rate"] <= last["refinement_high"]
    entry = json.loads((outcome.folder / "completions.jsonl").read_text().splitlines()[0])
    assert isinstance(entry["refinement"], str)
    assert all(len(entry[name]) == ANSWERS for name in ("refined", "best_refined", "best_sampled"))
    assert exploit.main([str(outcome.folder), "--steps", "1", "--completions", "1"]) == 0
    figure = stackelberg_text.draw(analyse(outcome.folder.parent, Criterion(target=0.4)))
    check(figure)
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if len(line.get_ydata()) == ANSWERS]
    assert heights == pytest.approx([last["test_win_rate_vs_reference"]] * 3)  # the leader's answer alone


def test_a_run_that_is_stopped_goes_on_bit_for_bit(leader_config):
    import pandas as pd

    keys = ["policy.max_new_tokens=4", "prox.inner_steps=2"]
    whole = run_one(leader_config(*keys, "study=whole"))
    assert run_one(leader_config(*keys, "study=stopped"), signalling(2)).status == "interrupted"
    again = run_one(leader_config(*keys, "study=stopped"))
    rows = [pd.read_csv(run.folder / "metrics.csv").drop(columns=["seconds", "judge_calls"]) for run in (whole, again)]
    assert rows[0].equals(rows[1])


@pytest.mark.parametrize(
    ("overrides", "choices", "sentence"),
    [
        ([], {"game": "dialogue"}, "game=dialogue needs policies that play each other, not a follower"),
        (["prox.surrogate=ipo"], {}, "algorithm=stackelberg needs steps of a leader and a follower: set prox=ex"),
        (["prox.baseline=learned"], {}, "another prox.baseline than learned"),
        (["solution.refine=' '"], {}, "solution.refine is empty: give a sentence"),
        (["policy.max_new_tokens=32"], {}, "2 answers of policy.max_new_tokens=32 more than the model's 64"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(leader_config, overrides, choices, sentence):
    with pytest.raises(ConfigError) as refused:
        run_one(leader_config(*overrides, **choices))
    assert "\n" not in str(refused.value)
    assert sentence in str(refused.value)


def test_a_policy_that_cannot_see_an_answer_is_refused():
    from nlhf.runner.specification import specify

    with pytest.raises(ConfigError, match=r"^algorithm=stackelberg needs a policy that can see an answer"):
        specify(configured("algorithm=stackelberg", "prox=gradient", "policy=mlp"))


def test_another_sentence_is_another_setting_and_the_default_is_that_of_older_runs(leader_config):
    from nlhf.runner.specification import specify

    config = leader_config()
    older = {**config, "solution": {k: v for k, v in config["solution"].items() if k != "refine"}}
    changed = leader_config("solution.refine=Better")
    names = [specify(one).fingerprint for one in (config, older, changed)]
    assert names[0] == names[1] != names[2]
