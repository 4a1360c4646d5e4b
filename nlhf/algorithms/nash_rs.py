"""Nash-RS: mirror descent against the best response, which rejection sampling draws (arXiv:2503.10990).

    gibbs    = prox(opponent = pi_k, lambda = inf), the best response: ref exp(-P(pi_k > .)/beta), normalised
    pi_{k+1} = prox(opponent = gibbs, anchor = pi_k, lambda)

Two queries per iteration. KL(pi* || pi_k) <= (1 + lambda beta)^-k KL(pi* || pi_0) for lambda <= 4 beta, the default
`theory`. The column `preference_calls` counts as the authors' code does, which draws an opponent from the reference and
accepts it with probability exp(-P(pi_k > y)/beta). Each proposal meets `policy_samples` responses of the policy, and
each of `responses` meets all `opponents`:

    calls of iteration k = opponents (policy_samples / E_ref[exp(-P(pi_k > y)/beta)] + responses)

At the equilibrium an opponent takes exp(1/(2 beta) + KL(pi* || ref)) proposals. See docs/mathematics.md, "Nash-RS".
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, Tensor, TrainablePolicy


@dataclass(frozen=True)
class NashRSState(State):
    """The policy, and the calls of the preference model so far in each context, (S, X, 1)."""

    calls: Tensor


@dataclass(frozen=True)
class NashRS(ProximalAlgorithm):
    """Mirror descent against best responses, with the calls that rejection sampling takes.

    Args:
        policy_samples: responses of the policy that every proposal meets; B1 in the authors' code.
        opponents: accepted proposals for every context and iteration; B2 in the authors' code.
        responses: responses of every context and iteration that are trained on.
    """

    policy_samples: int
    opponents: int
    responses: int

    sources = ("2503.10990",)
    needs = frozenset({"answers", "bilinear", "one-turn", "reverse-kl"})
    columns = ("preference_calls",)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("policy_samples", "opponents", "responses"):
            if getattr(self, key) < 1:
                raise ConfigError(f"algorithm.{key}={getattr(self, key)} is too small: give 1 or more.")

    def init(self, policy: TrainablePolicy) -> NashRSState:
        return NashRSState(policy, calls=0 * policy.log_probabilities.exp().sum(-1, keepdim=True))

    def update(self, state: NashRSState, prox: Prox) -> NashRSState:
        pi = state.policy
        loss = (0.5 - prox.advantage(pi)) / prox.beta  # P(pi > y)/beta
        accepted = (prox.reference.log_probabilities - loss).logsumexp(-1, keepdim=True).exp()
        calls = self.opponents * (self.policy_samples / accepted + self.responses)
        gibbs = prox(opponent=pi, anchor=pi, step_size=prox.beta.new_full(prox.beta.shape, float("inf")))
        policy = prox(opponent=gibbs, anchor=pi, step_size=self.step_size, start=gibbs)
        return NashRSState(policy, calls=state.calls + calls)

    def measured(self, state: NashRSState, prox: Prox) -> dict[str, Tensor]:
        return {"preference_calls": state.calls.mean((-2, -1))}

    def check(self, beta: float) -> None:
        if beta == 0:
            raise ConfigError("beta=0 leaves Nash-RS without the distribution of its opponents: set beta > 0.")

    def theory_step(self, beta: Tensor) -> Tensor:
        return 4 * beta

    def contraction(self, beta: Tensor) -> Tensor:
        return (1 / (1 + self.step_size * beta)).where(self.step_size <= 4 * beta, float("nan"))
