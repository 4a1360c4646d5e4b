"""The peers of the race: from a game to policies, with the seconds that they took."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.race.game import Game, Looks, looped, timed

TOLERANCES = ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "pdlp_optimality_tolerance")


# --- linear programmes: minimise w subject to A p <= w, p on the simplex ---------------------------------------------


def highs(tolerances: tuple[float, ...], **options: object) -> Callable[[Game], Looks]:
    """HiGHS by its own Python interface; tolerances below 1e-10 are outside its range."""

    def looks(game: Game) -> Looks:
        for tolerance in tolerances:
            yield timed(partial(_highs, game, options | dict.fromkeys(TOLERANCES, tolerance)))

    return looks


def _highs(game: Game, options: dict[str, object]) -> np.ndarray:
    import highspy

    solver, n = highspy.Highs(), len(game.advantage)
    fixed = {"output_flag": False, "threads": 1, "time_limit": game.seconds}
    for name, value in (fixed | options).items():
        if solver.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise ValueError(f"HiGHS does not accept {name}={value}.")
    columns = np.zeros((n + 1, n + 1))  # of p and w; the last row is sum(p) = 1
    columns[:n, :n], columns[:n, n], columns[n, :n] = game.advantage.T, 1, -1
    entries = columns != 0
    programme = highspy.HighsLp()
    programme.num_col_ = programme.num_row_ = n + 1
    programme.col_cost_ = np.r_[np.zeros(n), 1.0]
    programme.col_lower_, programme.col_upper_ = np.r_[np.zeros(n), -np.inf], np.full(n + 1, np.inf)
    programme.row_lower_, programme.row_upper_ = np.r_[np.full(n, -np.inf), 1.0], np.r_[np.zeros(n), 1.0]
    programme.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    programme.a_matrix_.start_ = np.r_[0, entries.sum(1).cumsum()]
    programme.a_matrix_.index_, programme.a_matrix_.value_ = np.nonzero(entries)[1], columns[entries]
    solver.passModel(programme)
    solver.run()
    return np.array(solver.getSolution().col_value)[:n]


def nashpy(game: Game) -> Looks:
    """Its linear programmes, one for each player, which SciPy solves by HiGHS."""
    import nashpy

    yield timed(lambda: nashpy.Game(game.advantage).linear_program()[0])


# --- OpenSpiel -------------------------------------------------------------------------------------------------------


def mirror_descent(game: Game) -> Looks:
    """Magnetic mirror descent with its default step size: entropy of weight alpha is our KL term up to a constant."""
    import pyspiel
    from open_spiel.python.algorithms.mmd_dilated import MMDDilatedEnt

    matrix = pyspiel.create_matrix_game(game.advantage.tolist(), (-game.advantage).tolist())
    solver = MMDDilatedEnt(pyspiel.convert_to_turn_based(matrix), alpha=game.beta)
    yield from looped(solver.update_sequences, lambda: np.asarray(solver.sequences[0])[1:])


def regret_matching(game: Game) -> Looks:
    """Regret matching on arrays; its average policy converges."""
    from open_spiel.python.algorithms import nfg_utils
    from open_spiel.python.algorithms import regret_matching as source

    n = len(game.advantage)
    payoffs, strategies = [game.advantage, -game.advantage], [np.full(n, 1 / n)] * 2
    regrets = [np.full(n, 1 / source.INITIAL_REGRET_DENOM) for _ in strategies]
    average = nfg_utils.StrategyAverager(2, (n, n))

    def step() -> None:
        strategies[:] = source._regret_matching_step(payoffs, strategies, regrets, gamma=1e-6)
        average.append(strategies)

    yield from looped(step, lambda: average.average_strategies()[0])


# --- autograd: the exploitability as a loss of logits, float64 -------------------------------------------------------


def adam(game: Game) -> Looks:
    """Adam with the best of the learning rates 0.05, 0.1, 0.2 and 0.5; at beta = 0 it decays with 1/sqrt(step)."""
    logits, loss = _loss(game)
    optimiser = torch.optim.Adam([logits], lr=0.2 if game.beta else 0.05)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 if game.beta else (1 + step / 100) ** -0.5)

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()

    yield from looped(step, lambda: logits.detach().softmax(-1).numpy())


def lbfgs(game: Game) -> Looks:
    """L-BFGS with a line search; five of its iterations are one of this loop."""
    logits, loss = _loss(game)
    optimiser = torch.optim.LBFGS([logits], max_iter=5, max_eval=50, history_size=30, tolerance_grad=0,
                                  tolerance_change=0, line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    yield from looped(lambda: optimiser.step(closure), lambda: logits.detach().softmax(-1).numpy())


def _loss(game: Game) -> tuple[torch.Tensor, Callable[[], torch.Tensor]]:
    advantage = torch.from_numpy(game.advantage)
    logits = torch.zeros(len(game.advantage), dtype=torch.float64, requires_grad=True)

    def loss() -> torch.Tensor:
        log_policy = logits.log_softmax(-1)
        policy = log_policy.exp()
        gain = advantage @ policy
        if game.beta == 0:
            return gain.max()
        return game.beta * ((gain / game.beta).logsumexp(-1) + (policy * log_policy).sum())

    return logits, loss
