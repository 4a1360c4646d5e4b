"""The game of dialogues, on a model so small that all dialogues can be listed, and as a user runs it."""

from __future__ import annotations

import json
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.arena.contest import hold
from nlhf.cli import exploit
from nlhf.config import ConfigError
from nlhf.games.feedback import Feedback
from nlhf.games.preference import PreferenceTable
from nlhf.games.tree import conversations
from nlhf.judges.base import TextJudge
from nlhf.judges.classifier import RewardModel
from nlhf.judges.panel import shorter
from nlhf.language.game import TextGame
from nlhf.language.policy import CausalLMPolicy
from nlhf.language.reading import first_turn, transcript, turns_of
from nlhf.language.script import Script
from nlhf.models.prompts import ChatText, answers_in, spoken_after
from nlhf.models.tokens import OverlongPromptError
from nlhf.policies.mixture import ArithmeticMixture
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx
from nlhf.runner.run_one import run_one
from tests.selection import mostly_long
from tests.test_language_model import END, Letters, everything, other, tiny
from tests.test_resume import signalling

pytestmark = pytest.mark.usefixtures("one_thread")
BETA, STEP, VOCABULARY = 0.2, 1.5, 4
SCRIPT = Script(turns=2, reply="cut", short_reply="go", words=1)  # the empty answer gets the other reply


class Talking(Letters):
    """Letters that are read too: a sentence of the user is a few tokens."""

    def __call__(self, text, add_special_tokens, verbose):
        return SimpleNamespace(input_ids=[1 + ord(letter) % (VOCABULARY - 1) for letter in text])


def talking(length=1, **options):
    model = tiny(VOCABULARY, length, **options)
    model.tokenizer = Talking()
    return model


def dialogues(length=1, turns=2):
    """All dialogues, the last answer fastest."""
    return list(product(everything(VOCABULARY, length), repeat=turns))


class Table(TextJudge):
    """Preferences between transcripts, random and with cycles."""

    def preference(self, pairs):
        chances = []
        for prompt, one, two in pairs:
            low, high = sorted((one, two))
            number = np.random.default_rng([*map(ord, prompt + low + "|" + high)]).random()
            chances.append(0.5 if one == two else number if one == low else 1 - number)
        return np.array(chances)


class Problem:
    """Two prompts, policies of random weights, and tables over all dialogues."""

    def __init__(self, script=SCRIPT, **options):
        self.model = talking(**options)
        self.turns = tuple(first_turn(self.model, prompt, script) for prompt in ("abc", "ba"))
        self.game = TextGame(Table(), self.model, self.turns)
        self.all = dialogues(self.model.options.max_new_tokens, script.turns)
        self.numbers = torch.tensor([self.model.number(*answers) for answers in self.all]).expand(1, 2, -1)
        self.base = CausalLMPolicy(None, None, self.model, self.turns)
        self.learner, self.opponent, self.anchor = (
            self.base.trained(other(self.model, seed, 0.3), None) for seed in (1, 2, 3)
        )

    def table(self, policy):
        """log pi of all dialogues at all prompts, (1, 2, Y)."""
        return policy.at(None).log_prob(self.numbers).detach()

    def advantage(self):
        """A = P - 1/2 between all dialogues, (1, 2, Y, Y)."""
        rows = []
        for turn in self.turns:
            texts = [transcript(self.model, turn, answers) for answers in self.all]
            rows.append(Table().preference([(turn.text, a, b) for a in texts for b in texts]))
        return torch.tensor(np.array(rows)).view(1, 2, len(self.all), -1) - 0.5

    def tree(self):
        """`game=tree` with the same preferences, in which the user's reply is certain."""
        answers = [tuple("wxyz")] * 2
        items = tuple(f"{a} > r > {b}" for a, b in product("wxyz", "wxyz"))
        table = PreferenceTable(self.advantage()[0].numpy() + 0.5, items, ("abc", "ba"))
        return conversations([table], answers, [[np.ones((2, 4, 1))]])


def test_a_policy_is_a_distribution_over_dialogues():
    problem = Problem()
    for policy in (problem.base, problem.learner):
        assert problem.table(policy).exp().sum(-1) == pytest.approx(1, abs=1e-12)


def test_the_users_sentences_are_read_and_not_scored():
    """Against one pass of the bare module over the whole conversation, of which the answers' positions count."""
    problem = Problem(Script(3, "cut", None, 1), length=2)
    model, turn, answers = problem.model, problem.turns[0], ((2, END), (3, 1), (END,))
    replies = [[1 + ord(letter) % 3 for letter in "\n\ncut\n\n"]] * 2
    tokens, scored = list(turn.tokens), []
    for answer, reply in zip(answers, [*replies, []], strict=True):
        scored += [(list(tokens) + list(answer[:place]), token) for place, token in enumerate(answer)]
        tokens += [token for token in answer if token != END] + reply
    expected = sum(
        model.base(torch.tensor([read])).logits[0, -1].log_softmax(-1)[token].item() for read, token in scored
    )
    number = torch.tensor([[[model.number(*answers)], [model.number(*answers)]]])
    assert problem.base.at(None).log_prob(number)[0, 0, 0].item() == pytest.approx(expected, abs=1e-12)


def test_the_game_is_the_tree_of_the_same_preferences():
    problem = Problem()
    tree_game, advantage = problem.tree(), problem.advantage()
    contexts = torch.arange(2)[None]
    first, second = (side.expand(1, 2, -1) for side in problem.numbers[0, 0][None, None].split([8, 8], -1))
    assert torch.equal(problem.game.compare(contexts, first, second), advantage[..., :8, 8:].diagonal(dim1=2, dim2=3))
    mu = problem.table(problem.opponent).exp()
    assert tree_game.payoff(mu).allclose(torch.einsum("sxyz,sxz->sxy", advantage, mu), atol=1e-12)
    assert tree_game.tree.contains(problem.table(problem.learner))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_the_divergence_along_dialogues_is_the_expected_one_of_the_turns(temperature):
    problem = Problem(temperature=temperature)
    log_pi, log_base = problem.table(problem.learner), problem.table(problem.base)
    turns = [problem.tree().tree.turns(policy) for policy in (log_pi, log_base)]
    first, second = ((mine.exp() * (mine - base)).sum(-1) for mine, base in zip(*turns, strict=True))
    expected = first[..., 0] + (turns[0][0][:, :, 0].exp() * second).sum(-1)
    divergence, entropy = problem.learner.at(None).divergence_and_entropy(problem.numbers)
    assert (log_pi.exp() * divergence).sum(-1).allclose(expected, rtol=1e-10)
    assert (log_pi.exp() * (log_pi - log_base)).sum(-1).allclose(expected, rtol=1e-10)
    assert (log_pi.exp() * entropy).sum(-1).allclose(-(log_pi.exp() * log_pi).sum(-1), rtol=1e-10)
    assert divergence.min() >= 0


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_dialogues_are_drawn_turn_by_turn_from_the_policy(share):
    problem, count = Problem(), 8000
    drawn = problem.learner.at(None).mixed(problem.base.at(None), torch.full((1, 1, 1), share))
    sample = drawn.sample(torch.from_numpy(np.random.default_rng(0).random((1, 2, count))))
    numbers = problem.numbers[0, 0]
    observed = (sample[0, 0, :, None] == numbers).sum(0).numpy()
    assert observed.sum() == count
    turns = [problem.tree().tree.turns(problem.table(policy)) for policy in (problem.learner, problem.base)]
    mixed = [((1 - share) * mine + share * base).log_softmax(-1)[0, 0] for mine, base in zip(*turns, strict=True)]
    expected = (mixed[0][0][:, None] + mixed[1]).flatten().exp().numpy() * count
    often = expected > 5
    counts, means = ([*values[often], values[~often].sum()] for values in (observed, expected))
    assert stats.chisquare(counts, np.array(means) * sum(counts) / sum(means)).pvalue > 1e-3


def options(surrogate, samples):
    return GradientProx(surrogate=surrogate, inner_steps=1, contexts=None, samples=samples, baseline="leave_one_out",
                        beta_dpo=4.0, optimiser="sgd", learning_rate=1.0, decay_steps=None, momentum=0.0, clip=None,
                        carry=False)  # fmt: skip


@pytest.mark.parametrize("surrogate", ["policy_gradient", "pair", "ipo"])
def test_the_mean_of_sampled_gradients_is_the_gradient_in_the_tree(surrogate):
    """The tree's objective, with its payoff and the expected divergences of its turns, differentiated by autograd."""
    problem, tree = Problem(), Problem().tree()
    opponent = problem.learner if surrogate == "ipo" else problem.opponent
    parameters = {name: value.clone().requires_grad_() for name, value in problem.learner.parameters.items()}
    log_pi = problem.learner.at(None, parameters).log_prob(problem.numbers)
    turns = [tree.tree.turns(log) for log in (log_pi, problem.table(problem.base), problem.table(problem.anchor))]

    def divergence(place):
        first, second = (
            (mine.exp() * (mine - their)).sum(-1) for mine, their in zip(turns[0], turns[place], strict=True)
        )
        return first[..., 0] + (turns[0][0][:, :, 0].exp() * second).sum(-1)

    won = (log_pi.exp() * tree.payoff(problem.table(opponent).exp())).sum(-1)
    objective = (won - BETA * divergence(1) - divergence(2) / STEP).mean()
    exact = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(objective, list(parameters.values()))])
    beta = torch.full((1, 1, 1), BETA, dtype=torch.float64)
    parts = Parts(problem.game, problem.base, beta, [0], Feedback(None, "given", 0.0, 0.0))
    prox = options(surrogate, 40).pair_engine(parts)
    steps = []
    for _ in range(50):
        after = prox(opponent=opponent, anchor=problem.anchor, step_size=0 * beta + STEP, start=problem.learner)
        pairs = zip(after.parameters.values(), problem.learner.parameters.values(), strict=True)
        steps.append(torch.cat([(new - old).flatten() for new, old in pairs]))
    along = torch.stack(steps) @ exact / exact.square().sum()  # each has the mean 1
    error = along.std() / len(steps) ** 0.5
    assert exact.norm() > 0.01
    assert error < 0.15
    assert abs(along.mean() - 1) < 4 * error
    mean = torch.stack(steps).mean(0)
    apart = mean - along.mean() * exact
    spread = torch.stack(steps).std(0).norm() / len(steps) ** 0.5
    assert apart.norm() < 1.5 * spread


# --- what a model reads ----------------------------------------------------------------------------------------------

TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }} <end> {% endfor %}" \
           "{% if add_generation_prompt %}[assistant] {% endif %}"  # fmt: skip


def loaded(folder, template=None, limit=64):
    from transformers import AutoTokenizer

    model = talking(length=3)
    model.tokenizer = AutoTokenizer.from_pretrained(folder)
    model.tokenizer.chat_template = template
    model.max_positions = limit
    return model


def test_a_conversation_goes_on_with_the_drawn_tokens_and_the_template(tiny_model):
    model = loaded(tiny_model, TEMPLATE)
    turn = first_turn(model, "why", Script(2, "the sea", None, 1))
    read = lambda text: tuple(model.tokenizer(text).input_ids)  # noqa: E731
    answer = read("good bread")
    for drawn in (answer, (*answer, END)):  # an answer that is cut is closed by the template
        after = turns_of(model, turn, (drawn, answer))[1]
        assert after.tokens == turn.tokens + answer + read("<end> [user] the sea <end> [assistant]")
        assert [message["content"] for message in after.text.messages] == ["why", model.decoded(drawn), "the sea"]
    text = transcript(model, turn, (answer, answer))
    assert text == "good bread\n\nuser: the sea\n\nassistant: good bread"
    assert [message["role"] for message in text.messages] == ["assistant", "user", "assistant"]


def test_a_template_that_leaves_out_answers_is_refused(tiny_model):
    model = loaded(tiny_model, "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }} {% endfor %}")
    with pytest.raises(ConfigError, match="leaves out earlier answers: give a model"):
        first_turn(model, "why", Script(2, "the sea", None, 1))


def test_the_script_chooses_by_the_length_of_an_answer():
    script = Script(2, "Make it shorter.", "Say more.", 3)
    assert [script.reply_to(answer) for answer in ("", "one two", "one two three")] == ["Say more."] * 2 + [
        script.reply
    ]
    assert Script(2, "Make it shorter.", None, 3).reply_to("") == "Make it shorter."


def test_no_conversation_is_longer_than_the_model_can_read(tiny_model):
    """The sentence names the longest answers that fit, and with these the longest dialogue has at most the limit."""
    script = Script(3, "the sea", "the sea is good and old", 2)
    with pytest.raises(OverlongPromptError, match=r"3 answers of policy\.max_new_tokens=3") as refused:
        first_turn(loaded(tiny_model, TEMPLATE, limit=40), "why " * 10, script)
    room = refused.value.room
    assert 0 < room < 3
    model = loaded(tiny_model, TEMPLATE, limit=40)
    object.__setattr__(model.options, "max_new_tokens", room)
    turn = first_turn(model, "why " * 10, script)
    longest = turns_of(model, turn, ((1,) * room,) * 3)[-1]
    assert 40 - 3 < len(longest.tokens) + room <= 40


def test_judges_read_the_messages_of_a_dialogue():
    spoken = [{"role": role, "content": text} for role, text in
              (("assistant", "a b c d"), ("user", "Shorter."), ("assistant", "a"))]  # fmt: skip
    text = ChatText("a b c d\n\nuser: Shorter.\n\nassistant: a", spoken)
    assert answers_in(text) == ["a b c d", "a"]
    assert spoken_after("a") == [{"role": "assistant", "content": "a"}]
    assert shorter([("why", text), ("why", "a b")]).tolist() == [0.75, 0]


class _Chats(RewardModel):
    """A reward model with a template that shows the roles; its rewards are the numbers of messages."""

    @property
    def _loaded(self):
        tokenizer = SimpleNamespace(chat_template="yes")
        tokenizer.apply_chat_template = lambda chat, **_: "|".join(message["role"] for message in chat)
        return tokenizer, None

    def _logits(self, texts, special=True):
        assert set(texts) <= {"user|assistant|user|assistant", "user|assistant"}
        return np.array([float(text.count("|")) for text in texts])


def test_a_reward_model_reads_a_dialogue_as_a_chat():
    judge = _Chats(model="m", scale=1.0, batch=4, trust_remote_code=False)
    problem = Problem()
    text = transcript(problem.model, problem.turns[0], problem.all[5])
    assert judge.preference([("why", text, "one")]) == pytest.approx(1 / (1 + np.exp(-2)))


def test_an_average_draws_each_dialogue_from_one_of_its_policies():
    """Probabilities and draws are those of the arithmetic mixture of the tables, whatever weighs nothing."""
    problem, count = Problem(), 3000
    policies, weights = (problem.learner, problem.base, problem.opponent), (0.5, 0.3, 0.2)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    mixture = ArithmeticMixture((*policies, problem.anchor), tuple(zero + weight for weight in (*weights, 0.0)))
    tables = [problem.table(policy).exp() for policy in policies]
    expected = sum(weight * table for weight, table in zip(weights, tables, strict=True))
    average = mixture.at(None)
    assert average.log_prob(problem.numbers).exp().allclose(expected, atol=1e-12)
    drawn = average.sample(torch.from_numpy(np.random.default_rng(0).random((1, 2, count))))
    for prompt in (0, 1):
        counts = (drawn[0, prompt, :, None] == problem.numbers[0, 0]).sum(0).numpy()
        means = expected[0, prompt].numpy() * count
        often = means > 20
        assert not often.all()
        ends = [[*values[often], values[~often].sum()] for values in (counts, means * count / means.sum())]
        assert stats.chisquare(*ends).pvalue > 1e-3
    nested = average.averaged([average], [zero + 0.25, zero + 0.75])
    assert nested.log_prob(problem.numbers).exp().allclose(expected, atol=1e-12)


# --- as a user runs it -----------------------------------------------------------------------------------------------


@pytest.fixture
def dialogue_config(text_config):
    def made(*overrides):
        return text_config("game.judge.criteria=[diversity,length,shorter]", *overrides, game="dialogue")

    return made


ALGORITHMS = ["nash_prox_fast", "online_ipo", "nash_md_pg", "nash_mp", "online_dpo", "ipo_md", "inpo", "nash_ema_pg",
              "optimistic", "xpo", "enpo", "mnpo"]  # fmt: skip


@pytest.mark.parametrize("algorithm", mostly_long(ALGORITHMS, {"nash_prox_fast", "online_ipo", "nash_md_pg"}))
def test_every_algorithm_of_language_models_takes_steps(dialogue_config, algorithm):
    outcome = run_one(dialogue_config(f"algorithm={algorithm}", "budget.iterations=2", "prox.inner_steps=2"))
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    assert outcome.summary["final"]["test_kl_to_reference"] > 0
    entry = json.loads((outcome.folder / "completions.jsonl").read_text().splitlines()[0])
    assert "\n\nuser: Make it shorter.\n\nassistant: " in entry["policy"]


def test_a_dialogue_of_one_turn_is_the_game_of_texts(text_config):
    import pandas as pd

    judge = "game.judge.criteria=[diversity,length]"
    runs = [run_one(config) for config in (text_config(judge), text_config(judge, "game.turns=1", game="dialogue"))]
    tables = [pd.read_csv(run.folder / "metrics.csv").drop(columns=["run", "game", "seconds"]) for run in runs]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_run_that_is_stopped_goes_on_bit_for_bit(dialogue_config):
    import pandas as pd

    keys = ["algorithm=nash_md_pg", "game.turns=3", "game.short_reply=Say more.", "policy.max_new_tokens=4"]
    whole = run_one(dialogue_config(*keys, "study=whole"))
    assert run_one(dialogue_config(*keys, "study=stopped"), signalling(2)).status == "interrupted"
    again = run_one(dialogue_config(*keys, "study=stopped"))
    rows = [pd.read_csv(run.folder / "metrics.csv").drop(columns=["seconds", "judge_calls"]) for run in (whole, again)]
    assert rows[0].equals(rows[1])


def test_an_exploiter_and_the_arena(dialogue_config, tmp_path):
    outcome = run_one(dialogue_config("budget.iterations=1"))
    assert exploit.main([str(outcome.folder), "--steps", "1", "--completions", "1"]) == 0
    assert {"mean", "standard_error"} <= json.loads((outcome.folder / "exploiter.json").read_text()).keys()
    with pytest.raises(ConfigError, match="game=dialogue, and an arena compares single answers: give prompts=FILE"):
        hold([str(outcome.folder)], ["redraws=20", "most_prompts=2"])
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "why"}\n{"prompt": "the sea"}\n')
    arena = hold([str(outcome.folder)], ["redraws=20", f"prompts={tmp_path / 'prompts.jsonl'}"])
    assert len(arena.ranking.pooled.items) == 2


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("game.turns=0", "game.turns=0 is too small"),
        ("game.words=0", "game.words=0 is too small"),
        ("game.reply=' '", "game.reply or game.short_reply is empty"),
        ("policy.max_new_tokens=32", "2 answers of policy.max_new_tokens=32 more than the model's 64"),
        ("algorithm=mtpo", "algorithm=mtpo needs values of single turns, which compared pairs do not give"),
        ("algorithm=mpo", "needs actions that can be listed"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(dialogue_config, override, sentence):
    with pytest.raises(ConfigError) as refused:
        run_one(dialogue_config(override))
    assert "\n" not in str(refused.value)
    assert sentence in str(refused.value)
