"""Linear regression by least squares: training, validation and population loss, full batch or minibatches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from metagrad.errors import bad_type, bad_value, nearest
from metagrad.tasks import _least_squares_checks as checks
from metagrad.tasks._least_squares_rounding import gradient_rounding
from metagrad.xp import Array, namespace, rng, to_host

_WHERE = "LeastSquares"


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """f_b(w) = ||X_b w - y_b||^2 / (2 n) from w_0, for b = 1..B; by minibatches where `batch_size` is given.

    `X` (n, d) for one design shared by all tasks or (B, n, d); `y` (n,) or (B, n); `w0` (d,) or (B, d), zero by
    default; `validation`, a pair (X_val, y_val) of such arrays; `w_star` (d,) or (B, d), the true weights. All in one
    float dtype. Any rank: n < d, collinear and constant columns are allowed.
    `batch_size` b: `loss` and `gradient` are those of b samples drawn anew at every step, a function of (seed, t)
    alone; `replacement` says whether a sample may be drawn twice within one minibatch. The measures "train",
    "excess", "validation" and "risk" of the meta-objectives always see all samples.
    A wrong shape or value raises ValueError, a wrong kind TypeError. Source: Wang et al. 2021, section 4.

    >>> task = LeastSquares(np.array([[1.0], [1.0]]), np.array([1.0, 3.0]))
    >>> task.train_loss(np.array([[2.0]])), task.train_floor()
    (array([0.5]), array([0.5]))
    """

    X: Array
    y: Array
    w0: Array = None
    validation: tuple[Array, Array] | None = None
    w_star: Array = None
    batch_size: int | None = None
    replacement: bool = True
    degree: int | None = field(init=False, default=None)  # 2 where y = 0: f(s w) = s^2 f(w)

    def __post_init__(self) -> None:
        """Check the data, and bring vectors to the shapes (B, n) and (B, d)."""
        checks.check_samples(_WHERE, ("X", "y"), self.X, self.y)
        n, d = self.X.shape[-2:]
        checks.check_batch_size(_WHERE, self.batch_size, n, self.replacement)
        parts = {"X": self.X, "y": self.y}
        for name in ("w0", "w_star"):
            if getattr(self, name) is not None:
                checks.check_vector(_WHERE, name, getattr(self, name), d)
                parts[name] = getattr(self, name)
        if self.validation is not None:
            checks.check_validation(_WHERE, self.validation, d)
            parts |= dict(zip(("X_val", "y_val"), self.validation, strict=True))
        checks.check_alike(_WHERE, parts)
        axes = {name: 3 if name in ("X", "X_val") else 2 for name in parts}
        count = checks.task_count(_WHERE, {k: x.shape[0] if x.ndim == axes[k] else None for k, x in parts.items()})
        self._bring_to_shape(count)

    def _bring_to_shape(self, count: int) -> None:
        xp = namespace(self.X)
        zeros = xp.zeros(self.X.shape[-1], dtype=self.X.dtype)

        def rows(x: Array) -> Array:
            return xp.ascontiguousarray(xp.broadcast_to(x, (count, x.shape[-1])))

        object.__setattr__(self, "y", rows(self.y))
        object.__setattr__(self, "w0", rows(zeros if self.w0 is None else self.w0))
        if self.w_star is not None:
            object.__setattr__(self, "w_star", rows(self.w_star))
        if self.validation is not None:
            object.__setattr__(self, "validation", (self.validation[0], rows(self.validation[1])))
        object.__setattr__(self, "degree", None if bool((self.y != 0).any()) else 2)

    @property
    def n(self) -> int:
        """The number of training samples of a task."""
        return int(self.X.shape[-2])

    @property
    def d(self) -> int:
        """The number of weights of a task."""
        return int(self.X.shape[-1])

    def init(self, rng: np.random.Generator | None) -> Array:
        """Return w0, shape (B, d)."""
        return self.w0

    @property
    def full_batch(self) -> bool:
        """Whether every step sees all samples."""
        return self.batch_size is None

    def sample(self, rng: np.random.Generator, t: int) -> Array | None:
        """Return the samples of step t, indices (B, b), each task its own; None for the full batch."""
        if self.batch_size is None:
            return None
        shape = (self.y.shape[0], self.batch_size)
        if self.replacement:
            return rng.integers(self.n, size=shape)
        return rng.permuted(np.broadcast_to(np.arange(self.n), (shape[0], self.n)), axis=1)[:, : shape[1]]

    def loss(self, w: Array, sample: Any) -> Array:
        """Return the loss (B,) on the samples drawn, or on all where `sample` is None."""
        return _half_mean_square(*self._rows(sample), w)

    def gradient(self, w: Array, sample: Any) -> Array:
        """Return X'(Xw - y)/n over the samples drawn, or over all where `sample` is None: shape (B, d)."""
        X, y = self._rows(sample)
        residual = _predictions(X, w) - y
        if X.ndim == 2:
            return np.matmul(residual, X) / X.shape[-2]
        return np.matmul(residual[..., None, :], X)[..., 0, :] / X.shape[-2]

    def gradient_rounding(self, w: Array) -> tuple[Array, Array]:
        """Return the gradient on all samples at w, and how far rounding may move it: both (B, d).

        At the solution the first is within a few times the second: there it has no digits. See `centred`.
        """
        return self.gradient(w, None), gradient_rounding(self.X, w, _predictions(self.X, w), self.y)

    def predictions(self, w: Array) -> Array:
        """Return Xw, shape (B, n)."""
        return _predictions(self.X, w)

    def train_loss(self, w: Array) -> Array:
        """Return ||Xw - y||^2/(2n) on all training samples, shape (B,)."""
        return _half_mean_square(self.X, self.y, w)

    def validation_loss(self, w: Array) -> Array:
        """Return ||X_val w - y_val||^2/(2 n_val), shape (B,); ValueError without validation data."""
        if self.validation is None:
            remedy = "Give validation=(X_val, y_val), or use split_task."
            bad_value(_WHERE, "validation", "None", "a validation set for the validation loss", remedy)
        return _half_mean_square(*self.validation, w)

    def risk(self, w: Array) -> Array:
        """Return ||w - w_star||^2, shape (B,), twice the excess loss on fresh x ~ N(0, I); ValueError if unknown."""
        if self.w_star is None:
            bad_value(_WHERE, "w_star", "None", "the true weights for the risk", "Give w_star, or use 'validation'.")
        return np.sum((w - self.w_star) ** 2, axis=-1)

    def excess(self, w: Array) -> Array:
        """Return the train loss above its floor as ||X(w - w_ls)||^2/(2n), shape (B,).

        No cancellation: right until w rounds at w_ls, where the excess is about eps^2 ||w_ls||^2 and stays. For longer
        horizons see `centred`.
        """
        if self.degree == 2:  # the floor is zero
            return self.train_loss(w)
        residual = _predictions(self.X, w - self.solution())
        return 0.5 * np.mean(residual * residual, axis=-1)

    def solution(self) -> Array:
        """Return w_ls (B, d), the least-squares solution nearest to w0: where gradient descent from w0 ends."""
        return self._solved()[0]

    def train_floor(self) -> Array:
        """Return the smallest train loss, the part of y outside the columns of X, squared, over 2n: shape (B,).

        From the singular value decomposition in float64; singular values below max(n, d) eps times the largest count
        as zero.
        """
        return self._solved()[1]

    def centred(self) -> LeastSquares:
        """Return the same task about its solution: in the coordinates e = V'(w - w_ls), V the right singular vectors.

        Its train loss is the excess of this task's; its validation loss and its risk are the same numbers, after every
        number of full-batch steps. Steps are homogeneous in e, and e is small where w rounds at w_ls: derivatives that
        vanish keep their digits, and the log of the excess is right at any horizon (the engine rescales the state).
        On the task itself they are rounding from some horizon on, with Status.GRADIENT_ROUNDING.
        """
        U, S, V, inside, start = self._decomposed()
        k, d = S.shape[-1], self.d
        e0 = np.zeros((start.shape[0], d))
        e0[:, :k] = -np.einsum("bnk,bn->bk", U, start) * inside / np.where(inside, S, 1.0)
        X = np.zeros((start.shape[0], self.n, d))
        X[..., :k] = U * S[:, None, :]
        V = np.stack([_completed(v) for v in V])
        w_ls = to_host(self.w0) - np.einsum("bdi,bi->bd", V, e0)
        validation = None
        if self.validation is not None:
            X_val, y_val = (to_host(x).astype(np.float64) for x in self.validation)
            validation = self._as_here(np.matmul(X_val, V)), self._as_here(y_val - _predictions(X_val, w_ls))
        w_star = None if self.w_star is None else self._as_here(np.einsum("bdi,bd->bi", V, to_host(self.w_star) - w_ls))
        y, e0, X = (self._as_here(x) for x in (np.zeros(self.y.shape), e0, X))
        return LeastSquares(X, y, w0=e0, validation=validation, w_star=w_star)

    def _as_here(self, x: Any) -> Array:
        return namespace(self.X).asarray(x.astype(self.X.dtype))

    def _solved(self) -> tuple[Array, Array]:
        """Return the solution and the floor, computed once a task."""
        if self not in _SOLUTIONS:
            _SOLUTIONS[self] = self._solve()
        return _SOLUTIONS[self]

    def _solve(self) -> tuple[Array, Array]:
        U, S, V, inside, start = self._decomposed()
        coefficients = np.einsum("bnk,bn->bk", U, start) * inside
        moved = np.einsum("bdk,bk->bd", V, coefficients / np.where(inside, S, 1.0))
        residual = start - np.einsum("bnk,bk->bn", U, coefficients)
        return self._as_here(to_host(self.w0) + moved), self._as_here(0.5 * np.mean(residual**2, axis=-1))

    def _decomposed(self) -> tuple[Any, ...]:
        """Return U, S, V, which singular values are not zero, and y - X w0: one each for every task, in float64."""
        X, y, w0 = (to_host(x).astype(np.float64) for x in (self.X, self.y, self.w0))
        U, S, Vt = np.linalg.svd(X, full_matrices=False)
        smallest = max(X.shape[-2:]) * np.finfo(np.float64).eps * S[..., :1]
        inside = smallest < S
        parts = U, np.where(inside, S, 0.0), Vt.swapaxes(-1, -2), inside
        full = [np.broadcast_to(part, (y.shape[0], *part.shape[X.ndim - 2 :])) for part in parts]
        return *full, y - _predictions(X, w0)

    def _rows(self, sample: Any) -> tuple[Array, Array]:
        if sample is None:
            return self.X, self.y
        tasks = namespace(self.X).arange(self.y.shape[0])[:, None]
        return (self.X[sample] if self.X.ndim == 2 else self.X[tasks, sample]), self.y[tasks, sample]


# beside the tasks, not in them: what a task has computed is no part of what it is
_SOLUTIONS: WeakKeyDictionary[LeastSquares, tuple[Array, Array]] = WeakKeyDictionary()


def random_least_squares(
    count: int, n: int, d: int, *, sigma: float, seed: int = 0, split: float | None = None, dtype: Any = np.float64
) -> LeastSquares:
    """Return `count` random tasks of the paper: y = X w* + sigma xi, x and xi standard normal, |w*| = 1, w_0 = 0.

    `split`: the share of the n samples that is trained on, the rest is for validation (1/2 in the paper); None trains
    on all of them. w* is uniform on the unit sphere and known to the task, which therefore has a risk. ValueError for
    counts below 1, sigma < 0, and a split that leaves an empty part. Source: Wang et al. 2021, section 4.

    >>> random_least_squares(3, 10, 4, sigma=1.0, split=0.5).X.shape
    (3, 5, 4)
    """
    where = "random_least_squares"
    for name, value in (("count", count), ("n", n), ("d", d)):
        checks.check_count(where, name, value)
    checks.check_noise(where, sigma)
    size = n if split is None else checks.training_size(where, "split", split, n)
    stream = rng(seed, where, count, n, d)
    w_star = stream.standard_normal((count, d))
    w_star /= np.linalg.norm(w_star, axis=-1, keepdims=True)
    X = stream.standard_normal((count, n, d))
    y = _predictions(X, w_star) + sigma * stream.standard_normal((count, n))
    X, y, w_star = (x.astype(dtype) for x in (X, y, w_star))
    rest = None if size == n else (X[:, size:], y[:, size:])
    return LeastSquares(X[:, :size], y[:, :size], validation=rest, w_star=w_star)


def random_regressions(
    count: int,
    d: int,
    *,
    family: Literal["gaussian", "uniform"],
    factor: float = 1.0,
    seed: int = 0,
    dtype: Any = np.float64,
) -> LeastSquares:
    """Return `count` tasks f(w) = factor ||W w - y||^2, W (d, d) and y (d,) random, from w_0 ~ N(0, 0.01^2).

    Entries of W and y are standard normal ("gaussian", the paper's) or uniform in [0, 1) ("uniform", its public
    code's: the mean of W gives one large eigenvalue). The public code takes the mean over the batch, which divides
    every task's gradient, the input of a learned optimizer, by the batch size: factor=1/count.
    ValueError for counts below 1, another family, and a factor that is not finite and above 0.
    Source: Andrychowicz et al. 2016, section 3.1.

    >>> random_regressions(128, 10, family="gaussian").X.shape
    (128, 10, 10)
    """
    where = "random_regressions"
    for name, value in (("count", count), ("d", d)):
        checks.check_count(where, name, value)
    if not isinstance(family, str) or family not in _ENTRIES:
        bad_value(where, "family", repr(family), "a known family", nearest(str(family), list(_ENTRIES)))
    if isinstance(factor, bool | str) or not isinstance(factor, int | float):
        bad_type(where, "factor", f"{factor!r}, a {type(factor).__name__}", "a number", "1/count for the mean.")
    if not 0 < factor < math.inf:
        bad_value(where, "factor", factor, "a finite number above 0")
    stream, entries = rng(seed, where, family, count, d), _ENTRIES[family]
    root = math.sqrt(2 * d * factor)  # the loss of LeastSquares is a mean over d rows, halved
    X, y = (root * entries(stream, shape) for shape in ((count, d, d), (count, d)))
    w0 = 0.01 * stream.standard_normal((count, d))
    return LeastSquares(X.astype(dtype), y.astype(dtype), w0=w0.astype(dtype))


_ENTRIES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = {
    "gaussian": lambda stream, shape: stream.standard_normal(shape),
    "uniform": lambda stream, shape: stream.random(shape),
}


def split_task(task: LeastSquares, fraction: float = 0.5, seed: int = 0) -> LeastSquares:
    """Return the task that trains on a random share `fraction` of the samples and validates on the others.

    Every task is split in its own way, tasks with a shared X in the same. ValueError for a share that leaves an empty
    part, and for a task that has validation data already.
    """
    where = "split_task"
    if task.validation is not None:
        bad_value(where, "task", "one with validation data", "one without", "Build it with validation=None.")
    size = checks.training_size(where, "fraction", fraction, task.n)
    count = 1 if task.X.ndim == 2 else task.y.shape[0]
    order = rng(seed, where, count, task.n).permuted(np.tile(np.arange(task.n), (count, 1)), axis=1)
    xp = namespace(task.X)
    order, tasks = xp.asarray(order), xp.arange(task.y.shape[0])[:, None]
    X = task.X[order[0]] if task.X.ndim == 2 else task.X[tasks, order]
    y = task.y[tasks, order]
    rest = X[..., size:, :], y[:, size:]
    return replace(task, X=X[..., :size, :], y=y[:, :size], validation=rest)


def _completed(V: Any) -> Any:
    """Return the orthonormal columns V (d, k) with those that are missing to a basis, (d, d)."""
    return np.concatenate([V, np.linalg.qr(V, mode="complete")[0][:, V.shape[1] :]], axis=1)


def _predictions(X: Array, w: Array) -> Array:
    """Return Xw, shape (B, n), for X (n, d) or (B, n, d) and w (B, d)."""
    return np.matmul(w, X.T) if X.ndim == 2 else np.matmul(X, w[..., None])[..., 0]


def _half_mean_square(X: Array, y: Array, w: Array) -> Array:
    residual = _predictions(X, w) - y
    return 0.5 * np.mean(residual * residual, axis=-1)
