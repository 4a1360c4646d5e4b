"""The KL gradient of a token model needs the sequence's log-ratio (docs/mathematics.md, section 6).

    grad KL(pi || ref) = E_y [ (sum_t r_t) sum_t grad log pi_t ],      r_t = log(pi/ref)(y_t | y_<t), held constant

or, with the same expectation, E_y sum_t (sum_{s>=t} r_s) grad log pi_t. Token by token, E_y sum_t r_t grad log pi_t, it
is another vector: what a token does to the prefixes that follow is lost.
"""

from __future__ import annotations

import itertools

import pytest
import torch

VOCABULARY, LENGTH = 4, 3
SEQUENCES = list(itertools.product(range(VOCABULARY), repeat=LENGTH))
PREFIXES = [prefix for length in range(LENGTH) for prefix in itertools.product(range(VOCABULARY), repeat=length)]
ROWS = torch.tensor([[PREFIXES.index(sequence[:t]) for t in range(LENGTH)] for sequence in SEQUENCES])
TOKENS = torch.tensor(SEQUENCES)


@pytest.fixture(params=range(5))
def models(request):
    """Logits of the policy and of the reference, (prefixes, vocabulary)."""
    rng = torch.Generator().manual_seed(request.param)
    return [torch.randn(len(PREFIXES), VOCABULARY, generator=rng, dtype=torch.float64) for _ in range(2)]


def by_token(logits):
    """log pi(y_t | y_<t) of every sequence, (64, 3)."""
    return logits.log_softmax(-1)[ROWS, TOKENS]


def divergence(policy, reference):
    """KL(pi || ref) over whole sequences."""
    mine, others = by_token(policy).sum(-1), by_token(reference).sum(-1)
    return (mine.exp() * (mine - others)).sum()


def differences(policy, reference, width=1e-4):
    """Gradient of the KL by five-point differences, with an error of width^4."""
    gradient = torch.empty_like(policy)
    for entry in itertools.product(*map(range, policy.shape)):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = policy.clone()
            moved[entry] += shift * width
            values.append(divergence(moved, reference))
        gradient[entry] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * width)
    return gradient


def sequence(ratio):
    return ratio.sum(-1, keepdim=True)


def to_go(ratio):
    return ratio.flip(-1).cumsum(-1).flip(-1)


def token(ratio):
    return ratio


def estimated(policy, reference, credit):
    """The expectation, enumerated, of the score function with this credit for every token."""
    policy = policy.clone().requires_grad_()
    mine = by_token(policy)
    weight = mine.detach().sum(-1, keepdim=True).exp()
    ratio = mine.detach() - by_token(reference)
    (gradient,) = torch.autograd.grad((weight * credit(ratio) * mine).sum(), policy)
    return gradient


def test_the_model_is_a_distribution_over_all_sequences(models):
    assert len(SEQUENCES) == 64
    assert all(abs(by_token(model).sum(-1).exp().sum() - 1) < 1e-14 for model in models)


@pytest.mark.parametrize("credit", [sequence, to_go])
def test_the_log_ratio_of_the_sequence_gives_the_gradient_of_the_kl(models, credit):
    error = estimated(*models, credit) - differences(*models)
    assert error.abs().max() < 1e-8


def test_the_log_ratio_of_the_token_alone_gives_another_vector(models):
    truth, wrong = differences(*models), estimated(*models, token)
    assert (wrong - truth).norm() / truth.norm() > 0.15  # 17 to 62 per cent on these five models
    later = len(PREFIXES) - VOCABULARY ** (LENGTH - 1)
    assert (wrong - truth)[later:].abs().max() < 1e-8, "the last token has no future to forget"
    assert (wrong - truth)[:later].abs().max() > 0.01
