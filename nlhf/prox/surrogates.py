"""Losses whose gradient steps solve a proximal problem, for any differentiable policy; J is the problem's objective.

With kappa = beta + 1/lambda and m(y) = beta log(pi/ref)(y) + (1/lambda) log(pi/anchor)(y), opponent mu:

    policy_gradient   -E_{y~pi} sg(p(y) - b - m(y)) log pi(y),   p unbiased for P(y > mu)       gradient -grad J
    pair              E_{y,y'~pi} (m(y) - m(y') - p(y) + p(y'))^2 / (4 kappa)                   gradient -grad J
    ipo               E_{y,y'~mu} (m(y) - m(y') - (P(y > y') - 1/2))^2 / (4 kappa)              minimiser argmax J
    uniform_pair      E_{y,y'~uniform} (m(y) - m(y') - p(y) + p(y'))^2 / (4 kappa)              minimiser argmax J
    sppo              E_{y~mu} (m(y) - (p(y) - 1/2))^2 / (2 kappa)                              log Z is dropped
    logistic          -E_{y~mu,y'~nu} [P log sig(b D) + (1-P) log sig(-b D) - alpha log pi(y')] / (2 b)
    enpo              E_{y~mu,y'~nu} (m(y) - m(y') - p(y) + p(y'))^2 / (4 kappa) - alpha kappa E_{y~mu} log pi(y) / 4
    likelihood        -E [P log pi(y) + (1-P) log pi(y')], for recorded pairs only: supervised fine-tuning

With another regulariser R than the reverse KL, m(y) is beta dR/dpi(y) + (1/lambda) log(pi/anchor)(y) in
`policy_gradient`; the other losses rely on log-ratios to the reference.
Here D = log(pi/ref)(y) - log(pi/ref)(y'), and nu is the partner: by default mu, in XPO the reference, in ENPO an
extrapolation of the last step.
`pair` and `ipo` have the gradient -grad J if pairs are drawn from the current policy. For `ipo` this is self-play with
one step per opponent (online IPO); pairs from a frozen opponent are a regression towards the proximal step (INPO).
`uniform_pair` is a regression too, on actions that the policy need not take; it needs a list of all actions. `ipo`
takes one query per pair, `pair`, `uniform_pair` and `enpo` two for each comparator. `sppo` has the minimiser of the
problem if log Z = 0, which is an error of O(lambda^2). `logistic` uses the opponent in its pairs only, and has no
anchor: online DPO with b = beta_dpo. If P - 1/2 is small, sig(z) is 1/2 + z/4 and the minimiser has D = 4 (P - 1/2)/b,
so beta_dpo = 4 beta is comparable. alpha >= 0 has the units of the papers. XPO lowers the likelihood of the partner's
actions: the minimised loss has a plus, where one public re-implementation has a minus. ENPO raises that of the
opponent's actions.
All gradients have the scale of -grad J, so that learning rates are comparable. See docs/mathematics.md, "Policy
gradient and pair loss". With prox.recorded, `logistic` (DPO), `ipo` and `likelihood`
take recorded pairs, whatever mu is.

Sources: policy gradient, arXiv:2312.00886; IPO, arXiv:2310.12036; online IPO, arXiv:2403.08635; INPO, arXiv:2407.00617;
uniform pairs, arXiv:2503.08942; SPPO, arXiv:2405.00675; online DPO, arXiv:2402.04792; XPO, arXiv:2405.21046; ENPO,
arXiv:2606.01382; the pair loss for any opponent, arXiv:2505.19731.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nlhf.policies.distributions import Categorical

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.prox.draws import Draws
    from nlhf.prox.problem import Problem


@dataclass(frozen=True)
class Surrogate:
    """A loss and its properties.

    Args:
        loss: of every seed, (S).
        paired: True if it uses actions in pairs.
        sources: arXiv numbers.
        caveat: how its fixed point differs from the problem's solution, or None.
        likelihood: True if it has a log-likelihood term, whose weight is alpha.
        alpha_caveat: how alpha > 0 moves the fixed point, or None.
        listed: True if it draws from all actions alike, so that they have to be listed.
        any_regulariser: True if its gradient is -grad J for every regulariser.
        offline: True if it can take recorded pairs; then only, if `online` is False.
        self_play: True if it requires that the opponent is the policy itself and that the step has no anchor.
    """

    loss: Callable[[Problem, Draws], Tensor]
    paired: bool
    sources: tuple[str, ...]
    caveat: str | None = None
    likelihood: bool = False
    alpha_caveat: str | None = None
    self_play: bool = False
    offline: bool = False
    online: bool = True
    any_regulariser: bool = False
    listed: bool = False


def policy_gradient(problem: Problem, draws: Draws) -> Tensor:
    """The score function times p - b - m(y)."""
    actions, weights = draws.actions(problem.learner)
    gain = draws.against_opponent(actions) - problem.margin(actions).detach()
    log_prob = problem.learner.log_prob(actions)
    return -(weights * draws.centred(gain).to(log_prob) * log_prob).sum(-1).mean(-1)


def pair(problem: Problem, draws: Draws) -> Tensor:
    """Pairs of the policy, each action against its own opponents."""
    first, second, weights = draws.pairs(problem.learner, problem.learner)
    problem.announce(first, second)
    target = draws.against_opponent(first) - draws.against_opponent(second)
    return _regression(problem, first, second, weights, target)


def ipo(problem: Problem, draws: Draws) -> Tensor:
    """Pairs of the opponent, against each other."""
    first, second, weights = draws.pairs(problem.opponent, problem.opponent)
    problem.announce(first, second)
    return _regression(problem, first, second, weights, draws.duel(first, second))


def uniform_pair(problem: Problem, draws: Draws) -> Tensor:
    """Pairs of uniform actions, each action against its own opponents."""
    assert isinstance(problem.learner, Categorical)
    uniform = Categorical(problem.learner.log_probabilities.detach().mul(0).log_softmax(-1))

    def value(actions: Tensor) -> Tensor:
        margin = problem.margin(actions)
        return margin - draws.against_opponent(actions).to(margin)

    return (draws.spread(uniform, value) / (4 * problem.kappa)).mean(-1)


def sppo(problem: Problem, draws: Draws) -> Tensor:
    """Actions of the opponent, against the opponent."""
    actions, weights = draws.actions(problem.opponent)
    margin = problem.margin(actions)
    gap = margin - draws.against_opponent(actions).to(margin)
    return ((weights * gap**2).sum(-1) / (2 * problem.kappa)).mean(-1)


def logistic(problem: Problem, draws: Draws) -> Tensor:
    """Pairs of the opponent and its partner, against each other, by the log-likelihood of a Bradley-Terry model."""
    from torch.nn.functional import logsigmoid

    first, second, weights = draws.pairs(problem.opponent, problem.partner)
    problem.announce(first, second)
    ratios = [problem.learner.log_prob(side) - problem.reference.log_prob(side) for side in (first, second)]
    logit = problem.beta_dpo * (ratios[0] - ratios[1])
    preference = draws.duel(first, second).to(logit) + 0.5
    loss = preference * logsigmoid(logit) + (1 - preference) * logsigmoid(-logit)
    if problem.alpha:
        loss = loss - problem.alpha * problem.learner.log_prob(second)
    return -((weights * loss).sum(-1) / (2 * problem.beta_dpo[..., 0])).mean(-1)


def enpo(problem: Problem, draws: Draws) -> Tensor:
    """An action of the opponent and one of its partner, each against the opponent; alpha keeps pi at the opponent."""
    first, second, weights = draws.pairs(problem.opponent, problem.partner)
    problem.announce(first, second)
    target = draws.against_opponent(first) - draws.against_opponent(second)
    loss = _regression(problem, first, second, weights, target)
    if problem.alpha:
        likelihood = (weights * problem.learner.log_prob(first)).sum(-1)
        loss = loss - problem.alpha / 4 * (problem.kappa * likelihood).mean(-1)
    return loss


def likelihood(problem: Problem, draws: Draws) -> Tensor:
    """The log-likelihood of the answers that were chosen."""
    first, second, weights = draws.pairs(problem.opponent, problem.partner)
    log_probs = problem.learner.log_prob(first), problem.learner.log_prob(second)
    chosen = draws.duel(first, second).to(log_probs[0]) + 0.5
    return -(weights * (chosen * log_probs[0] + (1 - chosen) * log_probs[1])).sum(-1).mean(-1)


def _regression(problem: Problem, first: Tensor, second: Tensor, weights: Tensor | float, target: Tensor) -> Tensor:
    difference = problem.margin(first) - problem.margin(second)
    gap = difference - target.to(difference)
    return ((weights * gap**2).sum(-1) / (4 * problem.kappa)).mean(-1)


SURROGATES = {
    "policy_gradient": Surrogate(policy_gradient, paired=False, sources=("2312.00886",), any_regulariser=True),
    "pair": Surrogate(pair, paired=True, sources=("2505.19731",)),
    "ipo": Surrogate(ipo, paired=True, sources=("2310.12036", "2403.08635", "2407.00617"), offline=True),
    "uniform_pair": Surrogate(uniform_pair, paired=True, sources=("2503.08942",), listed=True),
    "sppo": Surrogate(
        sppo, paired=False, sources=("2405.00675",), caveat="its regression drops log Z, an error of O(step_size^2)"
    ),
    "logistic": Surrogate(
        logistic,
        paired=True,
        sources=("2402.04792",),
        self_play=True,
        offline=True,
        caveat="it fits a Bradley-Terry model: elsewhere it rests near the equilibrium for beta_dpo/4",
        likelihood=True,
        alpha_caveat="alpha > 0 moves it away from there",
    ),
    "likelihood": Surrogate(likelihood, paired=True, sources=(), any_regulariser=True, offline=True, online=False),
    "enpo": Surrogate(enpo, paired=True, sources=("2606.01382",), likelihood=True),
}
