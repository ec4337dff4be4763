"""Step-size schedules for the noisy quadratic model: greedy, optimal, and those that look a few steps ahead.

Given all other steps, F_T is a parabola in eta_k; with the moments A before the step and the adjoint L after it, its
minimum is

    eta_k = sum_i L_i h_i A_i / sum_i L_i h_i^2 (A_i + s_i^2).

The greedy step, which minimises the loss right after it, is the same with L = h. So the whole short-horizon bias is in
the adjoint: what the later steps will do about each coordinate. `optimal_schedule` sweeps through the steps, each time
setting one to its minimum, until nothing changes (the loss falls in every move); F_T has several local minima, so it
sweeps from several starts and keeps the best. Both ways of stepping need A and L only up to a factor, and carry them
renormalised. Derived; checked by tests.
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, check_memory, count, number
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.sgd.noisy_quadratic import NoisyQuadratic, expected_loss

_SWEEPS = 20_000
_SETTLED = 1e-13
_HUGE = 1e300


def greedy_schedule(problem: NoisyQuadratic, steps: int, *, largest: float = np.inf) -> Floats:
    """Return the schedule (T,) each of whose steps minimises the loss right after it, up to `largest`.

    >>> greedy_schedule(NoisyQuadratic([1.0], [1.0], [3.0]), 2)
    array([0.75      , 0.42857143])
    """
    check_kind("greedy_schedule", "problem", problem, NoisyQuadratic)
    count = _checked("greedy_schedule", steps, largest)
    state, etas = _State(problem, 1), np.empty(count)
    for k in range(count):
        etas[k] = state.advance(np.broadcast_to(problem.curvatures, (1, problem.curvatures.size)), largest)[0]
    return etas


def optimal_schedule(problem: NoisyQuadratic, steps: int, *, largest: float = np.inf) -> Floats:
    """Return the schedule (T,) that minimises F_T, no step above `largest`: the best of the local minima found.

    Without a limit it may take steps far above 2/max h, which solve flat coordinates while sharp ones blow up, and
    repair those at the end; `largest=problem.largest_stable` rules that out. ArithmeticError if the sweeps do not
    settle.
    """
    check_kind("optimal_schedule", "problem", problem, NoisyQuadratic)
    count = _checked("optimal_schedule", steps, largest)
    return _best_settled(problem, np.minimum(_starts(problem, count), largest), largest)


def lookahead_schedule(problem: NoisyQuadratic, steps: int, horizon: int, *, largest: float = np.inf) -> Floats:
    """Return the schedule (T,) whose every step is the first of the optimal `horizon` steps from where it stands.

    horizon = 1 is greedy; at the end the horizon shrinks to what remains, so that horizon = T is optimal.
    """
    check_kind("lookahead_schedule", "problem", problem, NoisyQuadratic)
    count = _checked("lookahead_schedule", steps, largest)
    ahead = _checked("lookahead_schedule", horizon, largest, "horizon")
    state, etas, plan = _State(problem, 1), np.empty(count), np.empty(0)
    for k in range(count):
        here, left = state.problem(), min(ahead, count - k)
        starts = np.minimum(_starts(here, left), largest)
        if k:
            plan = np.append(plan[1:], plan[-1:])[:left]
            starts = np.concatenate([starts, plan[None]])
        plan = _best_settled(here, starts, largest)
        etas[k] = plan[0]
        state.move(plan[:1])
    return etas


def short_horizon_bias(problem: NoisyQuadratic, steps: int, *, largest: float = np.inf) -> SignedLog:
    """Return F_T of the greedy schedule over F_T of the optimal one, at least 1; undefined where both are 0.

    >>> problem = NoisyQuadratic([1.0, 0.05], [1.0, 20.0], [100.0, 100.0])
    >>> short_horizon_bias(problem, 10, largest=problem.largest_stable).to_float().round(2)
    np.float64(2.56)
    """
    check_kind("short_horizon_bias", "problem", problem, NoisyQuadratic)
    schedules = [f(problem, steps, largest=largest) for f in (greedy_schedule, optimal_schedule)]
    final = expected_loss(problem, np.stack(schedules))[:, -1]
    return final[0] / final[1]


class _State:
    """Moments A (runs, d) and the noise s^2, both in units of `1/unit` (runs, 1)."""

    def __init__(self, problem: NoisyQuadratic, runs: int) -> None:
        self.h, self.noise = problem.curvatures, problem.noise
        self.A, self.unit = np.tile(problem.start, (runs, 1)), np.ones((runs, 1))

    def advance(self, L: Floats, largest: float) -> Floats:
        """Take the step that is best under the adjoint L (runs, d) after it; return its sizes (runs,)."""
        gain = np.sum(L * self.h * self.A, axis=1)
        cost = np.sum(L * self.h**2 * (self.A + self.unit * self.noise), axis=1)
        eta = np.minimum(gain / np.where(cost > 0, cost, 1.0), largest)
        self.move(eta)
        return np.asarray(eta)

    def move(self, eta: Floats) -> None:
        """Take one step with sizes eta (runs,)."""
        rate = eta[:, None] * self.h
        self.A = (1 - rate) ** 2 * self.A + rate**2 * (self.unit * self.noise)
        size = np.max(self.A, axis=1, keepdims=True)
        size = np.where(size > 0, np.maximum(size, self.unit / _HUGE), 1.0)
        self.A, self.unit = self.A / size, self.unit / size

    def problem(self) -> NoisyQuadratic:
        """Return the problem that starts here."""
        return NoisyQuadratic(self.h, self.noise, self.A[0] / self.unit[0])


def _best_settled(problem: NoisyQuadratic, etas: Floats, largest: float) -> Floats:
    """Sweep from the schedules (runs, T) until their losses stand still, and return the best."""
    before = expected_loss(problem, etas)[:, -1].log
    for _ in range(_SWEEPS):
        etas = _sweep(problem, etas, largest)
        after = expected_loss(problem, etas)[:, -1].log
        if np.all(before <= after + _SETTLED):  # also where both are -inf
            return np.asarray(etas[np.argmin(after)])
        before = after
    raise ArithmeticError(f"optimal_schedule: {_SWEEPS} sweeps did not settle; take a smaller T or a `largest` step.")


def _sweep(problem: NoisyQuadratic, etas: Floats, largest: float) -> Floats:
    """Set one step after the other to its minimum, from the first to the last."""
    runs, count = etas.shape
    h = problem.curvatures
    adjoints = np.empty((count, runs, h.size))
    L = np.broadcast_to(h / h.max(), (runs, h.size))
    for k in range(count - 1, -1, -1):
        adjoints[k] = L
        L = (1 - etas[:, k, None] * h) ** 2 * L
        size = np.max(L, axis=1, keepdims=True)
        L = L / np.where(size > 0, size, 1.0)
    state, moved = _State(problem, runs), np.empty_like(etas)
    for k in range(count):
        moved[:, k] = state.advance(adjoints[k], largest)
    return moved


def _starts(problem: NoisyQuadratic, steps: int) -> Floats:
    """Return schedules to sweep from: greedy, a small constant, the flattest coordinate's and then the sharpest's."""
    h = problem.curvatures
    flat, sharp = (
        greedy_schedule(NoisyQuadratic(h[[i]], problem.noise[[i]], problem.start[[i]]), steps)
        for i in (int(np.argmin(h)), int(np.argmax(h)))
    )
    found = [greedy_schedule(problem, steps), np.full(steps, 0.1 / h.max())]
    for share in (0.25, 0.5, 0.75):
        first = round(share * steps)
        found.append(np.concatenate([flat[:first], sharp[: steps - first]]))
    return np.stack(found)


def _checked(function: str, steps: int, largest: float, name: str = "steps") -> int:
    check_memory(function, name, steps, count(function, name, steps), "Its schedule has a number a step.")
    if largest != np.inf and number(function, "largest", largest) <= 0:
        bad_value(function, "largest", largest, "a positive number, or inf for no limit")
    return int(steps)
