"""Ways to choose the penalties of `_penalised`: by meta-gradient, from a grid, at random, by scikit-learn.

The inner step is the same for all but scikit-learn's: Nesterov's momentum 0.9, from where the last choice of penalties
left the models. Work is in passes: gradients of the loss on all n samples, of which the K models that leave out a fold
take K - 1 in a step.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, NamedTuple

import numpy as np

import metagrad as mg
from analysis._counted import Counted
from analysis._penalised import FOLDS, LEFT_OUT, Splits
from metagrad.xp import Array

RANGE = np.log(1e-4), np.log(10.0)  # of log lambda: what there is to choose from
START = np.log(10**-1.5)  # the middle
MOMENTUM = 0.9
_MOST = 100  # steps for one choice of penalties


class Chosen(NamedTuple):
    """The penalties that were found, theta (splits, 1) or (splits, inputs), and the passes (splits,) of the search."""

    theta: Array
    passes: Array


@dataclasses.dataclass(frozen=True)
class Search:
    """A search by meta-gradient: inner and outer steps, the outer step size, and how the derivative is taken.

    "unrolled": backpropagation through the `inner` steps since the penalties last changed. "implicit": as if these had
    reached the optimum. The outer step is Adam's, split by split.
    """

    inner: int
    outer: int
    rate: float
    method: str = "unrolled"

    def run(self, splits: Splits, theta: Array) -> list[Chosen]:
        """Return what is chosen after each outer step, from theta (splits, 1) or (splits, inputs)."""
        counted, rule = Counted(), mg.Nesterov()
        task = splits.task(counted, theta)
        options: dict[str, Any] = {"method": "reverse"}
        if self.method == "implicit":
            options = {"method": "implicit", "tolerance": 1e-2, "stationary": 0.9}
        outer = mg.Through(mg.Adam(), mg.Adam.Phi(self.rate, beta1=0.5, beta2=0.9))
        state, at, found = outer.init(theta), None, []
        counted.flops = 0  # what building the task took is no part of the search
        for k in range(1, self.outer + 1):
            phi = mg.Joint(mg.Nesterov.Phi(splits.step_sizes(theta), np.full((splits.count, 1, 1), MOMENTUM)), theta)
            here = mg.meta_gradient(
                task, rule, mg.Final("validation"), phi, steps=self.inner, at=at, per_task=True, **options
            )
            at = here.end
            theta, state, _ = outer.step(theta, state, dataclasses.replace(here, grad=here.grad.task), k)
            theta = np.clip(theta, *RANGE)
            passes = counted.flops / splits.flops * (FOLDS - 1) / FOLDS
            found.append(Chosen(theta, np.full(splits.count, passes)))
        return found


def descend(splits: Splits, theta: Array, w: Array, tolerance: float) -> tuple[Array, Array, Array]:
    """Return the models w (splits, folds, d) trained on with penalties theta, their held-out loss, and the passes.

    Until the gradient is `tolerance` of that at w = 0, split by split, 100 steps at most.
    """
    penalty, eta, y = LEFT_OUT * splits.penalties(theta)[:, None], splits.step_sizes(theta), splits.y[:, None]

    def gradient(w: Array) -> Array:
        slopes = splits.weight * splits.slopes(np.matmul(w, splits.transposed), y)
        return np.matmul(slopes, splits.X) + penalty * w

    size = np.linalg.norm(gradient(np.zeros_like(w)), axis=(1, 2))
    m, steps, going = np.zeros_like(w), np.zeros(splits.count), np.ones(splits.count, dtype=bool)
    for _ in range(_MOST):
        g = gradient(w)
        steps += going  # the gradient that says it is enough is one too
        going &= ~(np.linalg.norm(g, axis=(1, 2)) < tolerance * size)
        if not going.any():
            break
        m = MOMENTUM * m - eta * g
        w = np.where(going[:, None, None], w + MOMENTUM * m - eta * g, w)
    loss = np.sum(splits.held * splits.losses(np.matmul(w, splits.transposed), y), axis=(1, 2))
    return w, loss, (FOLDS - 1) * steps


def grid(splits: Splits, points: int, tolerance: float) -> Chosen:
    """Return the best of `points` values of one penalty, tried from the largest to the least."""
    values = np.linspace(RANGE[1], RANGE[0], points)
    w = np.zeros((splits.count, FOLDS, splits.X.shape[2]))
    losses, passes = [], np.zeros(splits.count)
    for value in values:
        w, loss, taken = descend(splits, np.full((splits.count, 1), value), w, tolerance)
        losses.append(loss)
        passes += taken
    return Chosen(values[np.argmin(losses, axis=0)][:, None], passes)


def at_random(
    splits: Splits, budgets: list[Array], tolerance: float, stream: np.random.Generator, around: Array | None = None
) -> list[Chosen]:
    """Return the best of random penalties that are tried until passes (splits,) are used up, for each such budget.

    One penalty is log-uniform over the range. With `around` (splits, 1) there is one an input: e to the power of a
    standard normal number times that one, which is tried first.
    """
    w = np.zeros((splits.count, FOLDS, splits.X.shape[2]))
    width, first = (1, False) if around is None else (splits.inputs, True)
    nothing = np.full((splits.count, width), np.nan), np.full(splits.count, np.inf), np.zeros(splits.count)
    best = [nothing for _ in budgets]
    while any((passes < budget).any() for (_, _, passes), budget in zip(best, budgets, strict=True)):
        if around is None:
            theta = stream.uniform(*RANGE, (splits.count, 1))
        else:
            theta = np.clip(around + (not first) * stream.standard_normal((splits.count, width)), *RANGE)
        first = False
        w, loss, taken = descend(splits, theta, w, tolerance)
        for k, ((chosen, least, passes), budget) in enumerate(zip(best, budgets, strict=True)):
            going = passes < budget
            better = going & (loss < least)
            passes_now = np.where(going, passes + taken, passes)
            best[k] = np.where(better[:, None], theta, chosen), np.where(better, loss, least), passes_now
    return [Chosen(chosen, passes) for chosen, _, passes in best]


def scikit_learn(splits: Splits, points: int) -> tuple[Array, Array, Array]:
    """Return test loss, share misclassified and passes (splits,) of RidgeCV or LogisticRegressionCV.

    RidgeCV leaves out one sample at a time in closed form: a singular value decomposition, 6 n d^2 + 20 d^3 operations
    (Golub and Van Loan 2013, section 8.6.3), where a pass takes 4 n d. LogisticRegressionCV (defaults: ten penalties,
    here by the log loss of as many folds): each iteration of L-BFGS that it tells is counted as one gradient, though it
    can take more; the final fit, as everywhere, is not counted.
    """
    found = [_logistic(splits, b) if splits.logistic else _ridge(splits, b, points) for b in range(splits.count)]
    return (*splits.errors(np.stack([z for z, _ in found])), np.array([passes for _, passes in found], dtype=float))


def _ridge(splits: Splits, b: int, points: int) -> tuple[Array, float]:
    from sklearn.linear_model import RidgeCV

    n, d = splits.X[b].shape
    alphas = n * np.exp(np.linspace(*RANGE, points))
    model = RidgeCV(alphas=alphas, fit_intercept=False).fit(splits.X[b], splits.y[b])
    return model.predict(splits.fresh[b]), (6 * n * d**2 + 20 * d**3) / (4 * n * d)


def _logistic(splits: Splits, b: int) -> tuple[Array, float]:
    from sklearn.linear_model import LogisticRegressionCV

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # iterations at their limit; options that are about to change their defaults
        model = LogisticRegressionCV(cv=FOLDS, scoring="neg_log_loss").fit(splits.X[b][:, :-1], splits.y[b])
    return model.decision_function(splits.fresh[b][:, :-1]), float(np.sum(model.n_iter_)) * (FOLDS - 1) / FOLDS
