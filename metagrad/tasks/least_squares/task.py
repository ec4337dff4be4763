"""The task of linear regression by least squares: losses, gradient, minibatches, and what else is measured of w."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from metagrad import checks as arguments
from metagrad.errors import bad_value
from metagrad.tasks import _checks as shared
from metagrad.tasks.least_squares import _checks as checks
from metagrad.tasks.least_squares._products import half_mean_square, own_mean, predictions
from metagrad.tasks.least_squares._ragged import counts, draw, padded, sizes_of
from metagrad.tasks.least_squares._rounding import gradient_rounding
from metagrad.tasks.least_squares._solution import centre, solve
from metagrad.xp import Array, namespace, picked, to_host

_WHERE = "LeastSquares"


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """f_b(w) = ||X_b w - y_b||^2 / (2 n) from w_0, for b = 1..B; by minibatches where `batch_size` is given.

    `X` (n, d) for one design shared by all tasks or (B, n, d); `y` (n,) or (B, n); `w0` (d,) or (B, d), zero by
    default; `validation`, a pair (X_val, y_val) of such arrays; `w_star` (d,) or (B, d), the true weights. All in one
    float dtype. Any rank: n < d, collinear and constant columns are allowed.
    Tasks may have unequal numbers of samples n_b. Then `X` and `y` are lists of arrays, X_b (n_b, d) and y_b (n_b,), or
    padded arrays with a `mask` (B, n) of bool, which is True for the samples of a task; nothing else in the arrays is
    looked at. Either way the task keeps padded arrays that are 0 where the mask is False, and takes every mean over
    the task's own n_b samples. `validation` may be a pair of lists too, or of padded arrays with `validation_mask`.
    A mask is None where all sizes are equal.
    `batch_size` b: `loss` and `gradient` are those of b samples drawn anew at every step, a function of (seed, t)
    alone; `replacement` says whether a sample may be drawn twice within one minibatch. The measures "train",
    "excess", "validation" and "risk" of the meta-objectives always see all samples.
    A wrong shape or value raises ValueError, a wrong kind TypeError. Source: Wang et al. 2021, section 4.

    >>> task = LeastSquares(np.array([[1.0], [1.0]]), np.array([1.0, 3.0]))
    >>> task.train_loss(np.array([[2.0]])), task.train_floor()
    (array([0.5]), array([0.5]))
    >>> X, y = [np.ones((1, 1)), np.ones((2, 1))], [np.array([3.0]), np.array([1.0, 3.0])]
    >>> LeastSquares(X, y).train_loss(np.array([[2.0], [2.0]]))
    array([0.5, 0.5])
    """

    X: Array
    y: Array
    w0: Array = None
    validation: tuple[Array, Array] | None = None
    w_star: Array = None
    batch_size: int | None = None
    replacement: bool = True
    mask: Array = None
    validation_mask: Array = None
    sizes: Array = field(init=False, default=None)  # (B,) n_b in the dtype of X; None where all are equal
    validation_sizes: Array = field(init=False, default=None)
    degree: int | None = field(init=False, default=None)  # 2 where y = 0: f(s w) = s^2 f(w)

    def __post_init__(self) -> None:
        """Check the data, and bring vectors to the shapes (B, n) and (B, d)."""
        self._pad()
        checks.check_samples(_WHERE, ("X", "y"), self.X, self.y)
        d = self.d
        own = counts(self.mask)
        smallest, called = (self.n, "n") if own is None else (int(own.min()), "the smallest n")
        arguments.flag(_WHERE, "replacement", self.replacement)
        shared.check_batch_size(_WHERE, self.batch_size, smallest, self.replacement, called)
        parts = {"X": self.X, "y": self.y}
        for name in ("w0", "w_star"):
            if getattr(self, name) is not None:
                shared.check_vector(_WHERE, name, getattr(self, name), d)
                parts[name] = getattr(self, name)
        if self.validation is not None:
            checks.check_validation(_WHERE, self.validation, d)
            parts |= dict(zip(("X_val", "y_val"), self.validation, strict=True))
        shared.check_alike(_WHERE, parts)
        axes = {name: 3 if name in ("X", "X_val") else 2 for name in parts}
        count = shared.task_count(_WHERE, {k: x.shape[0] if x.ndim == axes[k] else None for k, x in parts.items()})
        self._bring_to_shape(count)

    def _pad(self) -> None:
        found: dict[str, Any] = {}
        found["X"], found["y"], found["mask"] = padded(_WHERE, ("X", "y", "mask"), self.X, self.y, self.mask)
        if self.validation is not None:
            checks.check_pair(_WHERE, self.validation)
            names = ("X_val", "y_val", "validation_mask")
            X_val, y_val, found["validation_mask"] = padded(_WHERE, names, *self.validation, self.validation_mask)
            found["validation"] = X_val, y_val
        elif self.validation_mask is not None:
            remedy = "Give validation=(X_val, y_val) too, or no mask of it."
            bad_value(_WHERE, "validation_mask", "given", "None without validation data", remedy)
        for name, value in found.items():
            object.__setattr__(self, name, value)
        for sizes, mask in (("sizes", self.mask), ("validation_sizes", self.validation_mask)):
            object.__setattr__(self, sizes, sizes_of(mask, getattr(self.X, "dtype", None)))

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
        """The number of rows of X: the samples of a task, and its padding where `sizes` has the numbers of samples."""
        return int(self.X.shape[-2])

    @property
    def d(self) -> int:
        """The number of weights of a task."""
        return int(self.X.shape[-1])

    @property
    def divisor(self) -> Any:
        """What a sum over the training samples is divided by: n, or the n_b, shape (B, 1), where they are unequal."""
        return self.n if self.sizes is None else self.sizes[:, None]

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
        if self.mask is not None:
            return draw(rng, to_host(self.mask), self.batch_size, self.replacement)
        shape = (self.y.shape[0], self.batch_size)
        if self.replacement:
            return rng.integers(self.n, size=shape)
        return rng.permuted(np.broadcast_to(np.arange(self.n), (shape[0], self.n)), axis=1)[:, : shape[1]]

    def loss(self, w: Array, sample: Any) -> Array:
        """Return the loss (B,) on the samples drawn, or on all where `sample` is None."""
        return half_mean_square(*self._rows(sample), w, self.sizes if sample is None else None)

    def gradient(self, w: Array, sample: Any) -> Array:
        """Return X'(Xw - y)/n over the samples drawn, or over all where `sample` is None: shape (B, d)."""
        X, y = self._rows(sample)
        residual = predictions(X, w) - y
        if X.ndim == 2:
            return np.matmul(residual, X) / X.shape[-2]
        return np.matmul(residual[..., None, :], X)[..., 0, :] / (self.divisor if sample is None else X.shape[-2])

    def gradient_rounding(self, w: Array) -> tuple[Array, Array]:
        """Return the gradient on all samples at w, and how far rounding may move it: both (B, d).

        At the solution the first is within a few times the second: there it has no digits. See `centred`.
        """
        return self.gradient(w, None), gradient_rounding(self.X, w, predictions(self.X, w), self.y, self.sizes)

    def samples(self, b: int) -> tuple[Array, Array]:
        """Return the training samples of task b, X (n_b, d) and y (n_b,), without padding."""
        return _own_rows(self.X, self.y, self.mask, b)

    def validation_samples(self, b: int) -> tuple[Array, Array]:
        """Return the validation samples of task b, without padding; ValueError without validation data."""
        return _own_rows(*self._validation(), self.validation_mask, b)

    def predictions(self, w: Array) -> Array:
        """Return Xw, shape (B, n), 0 for padding."""
        return predictions(self.X, w)

    def train_loss(self, w: Array) -> Array:
        """Return ||Xw - y||^2/(2n) on all training samples, shape (B,)."""
        return half_mean_square(self.X, self.y, w, self.sizes)

    def validation_loss(self, w: Array) -> Array:
        """Return ||X_val w - y_val||^2/(2 n_val), shape (B,); ValueError without validation data."""
        return half_mean_square(*self._validation(), w, self.validation_sizes)

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
        residual = predictions(self.X, w - self.solution())
        return 0.5 * own_mean(residual * residual, self.sizes)

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
        Targets that are X w_star up to rounding are counted as that: e is exactly V'(w - w_star) there, and so are
        validation targets. ValueError for a task by minibatches: their gradients do not vanish at the solution.
        """
        if self.batch_size is not None:
            came = f"{self.batch_size}, minibatches"
            remedy = "At the solution the gradient of a minibatch is not zero; build the task with batch_size=None."
            bad_value("LeastSquares.centred", "batch_size", came, "None, the full batch", remedy)
        there = centre(self.X, self.y, self.w0, counts(self.mask), self.validation, self.w_star)
        validation = there.validation
        if validation is not None:
            validation = self._as_here(validation[0]), self._as_here(validation[1])
        w_star = None if there.w_star is None else self._as_here(there.w_star)
        y, w0, X = (self._as_here(x) for x in (np.zeros(self.y.shape), there.w0, there.X))
        masks = {"mask": self.mask, "validation_mask": self.validation_mask}
        return LeastSquares(X, y, w0=w0, validation=validation, w_star=w_star, **masks)

    def _validation(self) -> tuple[Array, Array]:
        if self.validation is None:
            remedy = "Give validation=(X_val, y_val), or use split_task."
            bad_value(_WHERE, "validation", "None", "a validation set for the validation loss", remedy)
        return self.validation

    def _as_here(self, x: Any) -> Array:
        return namespace(self.X).asarray(x.astype(self.X.dtype))

    def _solved(self) -> tuple[Array, Array]:
        """Return the solution and the floor, computed once a task."""
        if self not in _SOLUTIONS:
            w_ls, floor = solve(self.X, self.y, self.w0, counts(self.mask))
            _SOLUTIONS[self] = self._as_here(w_ls), self._as_here(floor)
        return _SOLUTIONS[self]

    def _rows(self, sample: Any) -> tuple[Array, Array]:
        if sample is None:
            return self.X, self.y
        tasks = namespace(self.X).arange(self.y.shape[0])[:, None]
        return (picked(self.X, sample) if self.X.ndim == 2 else picked(self.X, tasks, sample)), picked(
            self.y, tasks, sample
        )


def _own_rows(X: Array, y: Array, mask: Array | None, b: int) -> tuple[Array, Array]:
    X = X if X.ndim == 2 else X[b]
    return (X, y[b]) if mask is None else (X[mask[b]], y[b][mask[b]])


# beside the tasks, not in them: what a task has computed is no part of what it is
_SOLUTIONS: WeakKeyDictionary[LeastSquares, tuple[Array, Array]] = WeakKeyDictionary()
