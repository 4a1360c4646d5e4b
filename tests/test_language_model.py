"""The causal-LM path on a model so small that all completions can be listed: every claim is checked by enumeration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.algorithms.nash_mp import NashMP
from nlhf.config import ConfigError
from nlhf.equilibria import metrics
from nlhf.equilibria import solve as reference_equilibrium
from nlhf.games.matrix import MatrixGame
from nlhf.judges.panel import Panel
from nlhf.language.game import TextGame
from nlhf.language.loading import wrapped
from nlhf.language.measure import TextMeasure
from nlhf.language.model import LanguageModel
from nlhf.language.policy import CausalLM, CausalLMPolicy
from nlhf.language.reading import Turn
from nlhf.policies.distributions import Categorical
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx

pytestmark = pytest.mark.usefixtures("one_thread")
END = 0
PROMPTS = ((1, 2, 3), (2,), (3, 1, 1, 2, 1))


@dataclass
class Letters:
    """A tokenizer of letters; token 0 ends a text."""

    eos_token_id: int | None = END
    chat_template: None = None

    def decode(self, tokens, skip_special_tokens):
        return "".join(chr(97 + token) for token in tokens if token != END)


def tiny(
    vocabulary=4, length=3, lora=False, micro_batch=1000, seed=0, hidden=16, spread=0.5, ends=None, **options
) -> LanguageModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32, eos_token_id=END,
                         initializer_range=spread, pad_token_id=None, bos_token_id=None)  # fmt: skip
    chosen = {"temperature": 1.0, "top_p": 1.0} | options
    family = CausalLM(model="tiny", lora=lora, lora_rank=2, lora_targets=[], max_new_tokens=length,
                      micro_batch=micro_batch, dtype="auto", trust_remote_code=False, **chosen)  # fmt: skip
    module = LlamaForCausalLM(config).double()
    for place in [name for name, part in module.named_modules() if type(part).__name__ == "LlamaRMSNorm"]:
        module.set_submodule(place, torch.nn.RMSNorm(hidden, eps=1e-6, dtype=torch.float64))  # theirs is of float32
    if ends is not None:
        module.generation_config.eos_token_id = ends
    return wrapped(family, module, Letters(), seed)


def everything(vocabulary, length, ends=(END,)):
    """All completions: those that end, and those that are cut."""
    words = [token for token in range(vocabulary) if token not in ends]
    ended = [(*body, end) for size in range(length) for body in product(words, repeat=size) for end in ends]
    return ended + list(product(words, repeat=length))


def other(model, seed=1, scale=0.5):
    """Other weights than the initial ones."""
    torch.manual_seed(seed)
    return {name: value + scale * torch.randn_like(value) for name, value in model.initial.items()}


def table(model, weights, prompt, vocabulary=4, length=3):
    """log pi of all completions of a prompt."""
    completions = everything(vocabulary, length)
    return model.log_prob(weights, [prompt] * len(completions), completions)


@pytest.mark.parametrize("lora", [False, True])
def test_probabilities_of_all_completions_sum_to_one(lora):
    model = tiny(6, 4, lora=lora)
    assert len(everything(6, 4)) == 781
    for weights in (None, model.initial, other(model)):
        for prompt in PROMPTS:
            assert table(model, weights, prompt, 6, 4).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("ends", [2, [2], [0, 2], [2, 3]])
def test_every_end_token_of_tokenizer_and_generation_config_ends_a_completion(ends, lora):
    """The policy is a distribution over the completions that can be drawn, and none goes on behind an end token."""
    model, union = tiny(5, 3, lora=lora, ends=ends), {END, *np.atleast_1d(ends).tolist()}
    assert set(model.end_tokens) == union
    listed = everything(5, 3, sorted(union))
    weights = other(model)
    for parts in ([(weights, 1.0)], [(weights, 0.5), (None, 0.5)]):
        drawn = model.sample(parts, [PROMPTS[0]] * 500, np.random.default_rng(0).random(500))
        assert {tokens[-1] for tokens in drawn if len(tokens) < 3} == union
        assert {*drawn} <= {*listed}
    assert model.log_prob(weights, [PROMPTS[0]] * len(listed), listed).exp().sum().item() == pytest.approx(1, abs=1e-12)
    numbers = [model.number(tokens) for tokens in ((1, 2), (1, 1, END), (1, 1, 1))]
    assert [model.finished(number) for number in numbers] == [True, True, False]
    assert [model.text(number) for number in numbers] == ["b", "bb", "bbb"]


def test_a_tokenizer_without_an_end_token_has_those_of_the_generation_config():
    model = tiny(ends=[2, 3])
    tokenizer = Letters(eos_token_id=None)
    model.base.config.eos_token_id = None
    assert wrapped(model.options, model.base, tokenizer, 0).end_tokens == (2, 3)
    model.base.generation_config.eos_token_id = None
    with pytest.raises(ConfigError, match="has no end token"):
        wrapped(model.options, model.base, tokenizer, 0)


def test_at_the_start_every_policy_is_the_base_model():
    for lora in (False, True):
        model = tiny(lora=lora)
        assert torch.equal(table(model, None, PROMPTS[0]), table(model, model.initial, PROMPTS[0]))


HYBRID = {"vocab_size": 12, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 2, "num_key_value_heads": 1, "mamba_d_state": 8}  # fmt: skip
RECURRENT = {
    "falcon_h1": {"head_dim": 8, "mamba_d_ssm": 16, "mamba_n_heads": 4, "mamba_d_head": 4, "mamba_chunk_size": 8},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 4, "mamba_n_groups": 1, "mamba_chunk_size": 8,
              "attn_layer_indices": [1]},
    "jamba": {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4},
}  # fmt: skip


def recurrent(kind, **options):
    """A model with recurrent layers, of random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, eos_token_id=END, bos_token_id=None, pad_token_id=None, **HYBRID,
                                  **RECURRENT[kind])  # fmt: skip
    module = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for value in module.parameters():
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) / 2)
    return wrapped(replace(tiny().options, **options), module, Letters(), 0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bamba", {"lora": True}),
        ("falcon_h1", {"lora": False, "temperature": 0.5}),
        ("falcon_h1", {"lora": True, "lora_targets": ["in_proj", "q_proj"]}),
    ],
)
def test_states_of_recurrent_layers_follow_their_rows(kind, options):
    """Prompts are read once for several completions, and rows leave the batch at their ends."""
    model = recurrent(kind, max_new_tokens=4, **options)
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[2], PROMPTS[1]]
    completions = [(3, 1, 2, END), (5, 4), (END,), (6, 7, 8), (9, 9, 2)]
    with torch.no_grad():
        cached = model.log_prob(model.initial, prompts, completions)
        for prompt, completion, value in zip(prompts, completions, cached.tolist(), strict=True):
            logits = model.base(torch.tensor([prompt + completion]), use_cache=False).logits[0]
            logits = (logits / options.get("temperature", 1.0)).log_softmax(-1)
            expected = sum(logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(completion))
            assert value == pytest.approx(expected, abs=1e-4)
    uniforms = np.random.default_rng(0).random(20)
    together = model.sample([(None, 1.0)], prompts * 4, uniforms)
    assert len(set(map(len, together))) > 1
    assert together == [
        model.sample([(None, 1.0)], [p], u[None])[0] for p, u in zip(prompts * 4, uniforms, strict=True)
    ]


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("falcon_h1", {"lora": True}, r"\(falcon_h1\) has layers that LoRA cannot adapt here \(Module 'out_proj' is "
         r"incompatible.*\): set policy.lora=false to train all weights, or policy.lora_targets=\[down_proj,"),
        ("falcon_h1", {"lora": True, "lora_targets": ["nothing"]}, "are not layers of policy.model=tiny"),
        ("falcon_h1", {"lora": True, "lora_targets": ["norm"]}, r"lora_targets=\['norm'\] of .* LoRA cannot adapt.* or "
         r"policy.lora_targets=\[down_proj,gate_proj,in_proj,k_proj,o_proj,q_proj,up_proj,v_proj\]"),
        ("jamba", {"lora": True}, r"\(jamba\) has recurrent layers that cannot be used here \(they lose"),
    ],
)  # fmt: skip
def test_models_whose_layers_cannot_be_used_are_a_sentence_of_their_own(kind, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        recurrent(kind, **options)


def test_log_probabilities_are_those_of_the_bare_module():
    model, completion = tiny(), (3, 1, END)
    tokens = torch.tensor([PROMPTS[0] + completion])
    logits = model.module(tokens).logits.log_softmax(-1)[0]
    expected = sum(logits[2 + place, token] for place, token in enumerate(completion))
    assert model.log_prob(None, [PROMPTS[0]], [completion]).item() == pytest.approx(expected.item(), abs=1e-12)


def test_lora_adds_twice_the_product_of_its_matrices():
    model, merged = tiny(lora=True), tiny()
    weights = other(model)
    for name in [name for name in weights if ".lora_A." in name]:
        layer = merged.module.get_submodule(name.removeprefix("base_model.model.").partition(".lora_A.")[0])
        with torch.no_grad():
            layer.weight += 2 * weights[name.replace(".lora_A.", ".lora_B.")][0] @ weights[name][0]
    expected = table(merged, None, PROMPTS[0])
    assert torch.allclose(table(model, weights, PROMPTS[0]), expected, atol=1e-12)
    assert not torch.allclose(table(model, model.initial, PROMPTS[0]), expected, atol=1e-3)


def test_padding_is_not_seen():
    model = tiny()
    weights, completions = other(model), [(1, END), (3, 2, 1), (END,)]
    together = model.log_prob(weights, PROMPTS, completions)
    alone = torch.cat([model.log_prob(weights, [p], [y]) for p, y in zip(PROMPTS, completions, strict=True)])
    assert torch.allclose(together, alone, atol=1e-12)
    uniforms = np.random.default_rng(0).random(3)
    for parts in ([(weights, 1.0)], [(weights, 0.7), (None, 0.3)]):
        drawn = model.sample(parts, PROMPTS, uniforms)
        assert drawn == [model.sample(parts, [p], u[None])[0] for p, u in zip(PROMPTS, uniforms, strict=True)]


@pytest.mark.parametrize("lora", [False, True])
def test_micro_batches_give_the_gradient_of_one_batch(lora):
    completions = everything(4, 3)[:7]
    found = []
    for size in (100, 3, 1):
        model = tiny(lora=lora, micro_batch=size)
        weights = {name: value.requires_grad_() for name, value in other(model).items()}
        scores = model.log_prob(weights, [PROMPTS[0]] * 7, completions)
        loss = (scores[:3] - scores[4:7]).square().sum()
        found.append([loss.detach(), *torch.autograd.grad(loss, list(weights.values()))])
    for again in found[1:]:
        assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found[0], again, strict=True))


@pytest.mark.parametrize("micro_batch", [100, 2])
def test_no_gradient_is_lost_when_others_are_evaluated_before_between_and_after(micro_batch):
    model = tiny(lora=True, micro_batch=micro_batch)
    start, prompts, completions = other(model), [PROMPTS[0]] * 5, everything(4, 3)[:5]

    def derivative(disturbed):
        weights = {name: value.clone().requires_grad_() for name, value in start.items()}

        def disturb():
            if disturbed:
                with torch.no_grad():
                    model.log_prob(None, prompts, completions)
                    model.log_prob(other(model, 7), prompts, completions)
                    model.sample([(None, 1.0)], prompts, np.random.default_rng(0).random(5))

        disturb()
        scores = model.log_prob(weights, prompts, completions)
        disturb()
        return torch.autograd.grad(scores.sum(), list(weights.values()))

    plain, disturbed = derivative(False), derivative(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, disturbed, strict=True))
    assert min(value.abs().max().item() for value in plain) > 0
    steps = {name: 1e-4 * torch.randn_like(value) for name, value in start.items()}  # norms are computed in float32
    up, down = (
        model.log_prob({name: start[name] + sign * steps[name] for name in start}, prompts, completions).sum()
        for sign in (1, -1)
    )
    slope = sum((gradient * steps[name]).sum() for gradient, name in zip(plain, start, strict=True))
    assert ((up - down) / 2).item() == pytest.approx(slope.item(), rel=1e-2)


def mixture(model, weights, share, prompt, length=3):
    """The probabilities of all completions under the token-wise mixture, from next-token tables, by recursion."""
    found = {}

    def grow(body, mass):
        if len(body) == length or body[-1:] == (END,):
            found[body] = mass
            return
        tokens = torch.tensor([prompt + body])
        own = {name: value[0] for name, value in weights.items()}
        mine = torch.func.functional_call(model.module, own, (tokens,)).logits[0, -1].log_softmax(-1)
        base = model.module(tokens).logits[0, -1].log_softmax(-1)
        for token, chance in enumerate(((1 - share) * mine + share * base).softmax(-1).tolist()):
            grow((*body, token), mass * chance)

    with torch.no_grad():
        grow((), 1.0)
    return found


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_completions_are_drawn_from_the_token_wise_mixture(share):
    model = tiny()
    weights, prompt, count = other(model, scale=0.3), PROMPTS[2], 20_000
    expected = mixture(model, weights, share, prompt)
    if share == 0:
        exact = dict(zip(everything(4, 3), table(model, weights, prompt).exp().tolist(), strict=True))
        assert all(expected[y] == pytest.approx(exact[y], abs=1e-12) for y in exact)
    parts = [(weights, 1 - share), (None, share)]
    drawn = model.sample([p for p in parts if p[1]], [prompt] * count, np.random.default_rng(3).random(count))
    observed = dict.fromkeys(expected, 0)
    for y in drawn:
        observed[y] += 1
    likely = [y for y in expected if expected[y] * count > 5]
    rest = count - sum(observed[y] for y in likely), count * (1 - sum(expected[y] for y in likely))
    counts = [*(observed[y] for y in likely), rest[0]]
    means = [*(expected[y] * count for y in likely), rest[1]]
    assert stats.chisquare(counts, np.array(means) * sum(counts) / sum(means)).pvalue > 1e-3


def test_top_p_and_temperature_change_what_is_drawn():
    prompt, uniforms = [PROMPTS[0]] * 300, np.random.default_rng(0).random(300)
    cold, narrow = (tiny(**options) for options in ({"temperature": 1e-3}, {"top_p": 1e-6}))
    assert len({*cold.sample([(None, 1.0)], prompt, uniforms)}) == 1
    assert {*narrow.sample([(None, 1.0)], prompt, uniforms)} == {*cold.sample([(None, 1.0)], prompt, uniforms)}


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("micro_batch", [7, 1000])
def test_divergence_and_entropy_along_completions_are_unbiased(temperature, micro_batch):
    """Their means over all completions, by probability, are the divergence and the entropy of whole completions."""
    model, everyone = tiny(temperature=temperature, micro_batch=micro_batch), everything(4, 3)
    weights, prompt = other(model, scale=0.3), PROMPTS[0]
    log_pi, log_base = (table(model, part, prompt).detach() for part in (weights, None))
    divergence, entropy = model.divergence_and_entropy(weights, [prompt] * len(everyone), everyone)
    ratio, pi = log_pi - log_base, log_pi.exp()
    assert (pi @ divergence).item() == pytest.approx((pi @ ratio).item(), rel=1e-12)
    assert (pi @ entropy).item() == pytest.approx((pi @ -log_pi).item(), rel=1e-12)
    assert divergence.min() >= 0
    variances = [(pi @ values**2 - (pi @ values) ** 2).item() for values in (divergence, ratio)]
    assert variances[0] < variances[1] / 4
    assert model.divergence_and_entropy(model.initial, [prompt] * len(everyone), everyone)[0].max() < 1e-15


def test_completions_are_drawn_with_their_log_probabilities_at_a_temperature():
    model, count, everyone = tiny(temperature=0.5), 20_000, everything(4, 3)
    expected = table(model, None, PROMPTS[0]).exp().tolist()
    assert sum(expected) == pytest.approx(1, abs=1e-12)
    drawn = model.sample([(None, 1.0)], [PROMPTS[0]] * count, np.random.default_rng(5).random(count))
    observed = [drawn.count(completion) for completion in everyone]
    often = [index for index, share in enumerate(expected) if share * count > 5]
    counts = [*(observed[index] for index in often), count - sum(observed[index] for index in often)]
    means = [*(expected[index] for index in often), 1 - sum(expected[index] for index in often)]
    assert stats.chisquare(counts, np.array(means) * count).pvalue > 1e-3


class Listed(CausalLMPolicy):
    """The same policy, as one over the list of all completions."""

    @property
    def log_probabilities(self):
        with torch.no_grad():
            return self.at(None).log_probabilities.double()

    def at(self, contexts, parameters=None):
        rows = [table(self.model, parameters or self.weights, prompt) for prompt in self.turns]
        return Categorical(torch.stack(rows)[None])


@pytest.mark.long
def test_full_batch_training_ends_at_the_exact_equilibrium_of_the_same_game():
    """Approximate Nash-MP on the network, against Newton's method on the table: exploitability 1e-6."""
    model, beta = tiny(hidden=32, spread=0.1), torch.full((1, 1, 1), 0.3, dtype=torch.float64)
    n = len(everything(4, 3))
    raw = torch.from_numpy(np.random.default_rng(2).normal(size=(n, n)))
    advantage = torch.sigmoid(raw - raw.mT) - 0.5
    game = MatrixGame(advantage[None, None], tuple(map(str, range(n))), ("prompt",))
    base = Listed(None, None, model, PROMPTS[:1])
    log_reference = base.log_probabilities
    options = GradientProx(surrogate="policy_gradient", inner_steps=20, contexts=None, samples=None, baseline="half",
                           beta_dpo=4.0, optimiser="adam", learning_rate=0.003, decay_steps=300.0, momentum=0.9,
                           clip=None, carry=True)  # fmt: skip
    prox = options.engine(Parts(game, TabularPolicy(log_reference), beta, [0], None))
    algorithm = NashMP(step_size="theory").bind(beta)
    state = algorithm.init(base.trained(model.initial, None))
    for _ in range(45):
        state = algorithm.update(state, prox)
    policy = state.policy.log_probabilities
    measured = metrics.exploitability_of(policy, game.payoff(policy.exp()), log_reference, beta)
    assert measured.item() < 1e-6
    exact = reference_equilibrium.solve(advantage[None], log_reference[0], 0.3).log_policy[0]
    assert (policy[0, 0].exp() - exact.exp()).abs().max().item() < 1e-3


def test_what_an_exploiter_gains_is_unbiased_and_below_the_exploitability():
    model = tiny(spread=0.3)
    turns = tuple(Turn(tokens, str(place)) for place, tokens in enumerate(PROMPTS))
    judge = Panel(criteria=["diversity", "length"], words=1, margin=0.0)
    measure = TextMeasure(TextGame(judge, model, turns), CausalLMPolicy(None, None, model, turns), 1, seed=0)
    policies = [CausalLMPolicy(other(model, seed, 0.3), None, model, turns) for seed in (1, 2)]
    beta, everyone = 0.3, everything(4, 3)
    texts = [model.text(model.number(tokens)) for tokens in everyone]
    exact, preferred, bounds = [], [], []
    for turn in turns:
        said = judge.preference([(turn.text, a, b) for a in texts for b in texts]).reshape(len(texts), -1) - 0.5
        reference, mu, pi = (
            model.log_prob(weights, [turn.tokens] * len(everyone), everyone).detach().numpy()
            for weights in (None, *(policy.weights for policy in policies))
        )
        preferred.append(np.exp(mu) @ said @ np.exp(pi) + 0.5)
        kl = [float(np.exp(p) @ (p - reference)) for p in (mu, pi)]
        exact.append(preferred[-1] - 0.5 - beta * kl[0] + beta * kl[1])
        bounds.append(beta * np.logaddexp.reduce(reference + said @ np.exp(pi) / beta) + beta * kl[1])
    gains, told = measure.gains(*policies, beta, 4000)
    assert gains == pytest.approx(np.array(exact), abs=0.05)
    assert told == pytest.approx(np.array(preferred), abs=0.03)
    assert (np.array(exact) < np.array(bounds)).all()
