"""Regression by small fully connected networks: some points to learn from, others to be judged by."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import checks as arguments
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.tasks import _checks as checks
from metagrad.tasks._batches import epoch_rows
from metagrad.tasks._network import MLP
from metagrad.xp import Array, namespace, picked

_WHERE = "MLPRegressor"


@dataclass(frozen=True, eq=False)
class MLPRegressor:
    """f_b(w) = mean_i |net(w, x_i) - y_i|^2, the mean over points and outputs. B networks side by side.

    `x` (n, p) for points shared by all networks or (B, n, p), `y` (n, q) or (B, n, q) in the same float dtype, which is
    that of w; p and q are the inputs and outputs of `net`. `validation`: such a pair of held-out points (query data);
    without one `Final("validation")` is a ValueError. `count`: B, where the arrays do not say it. w is a tuple
    (W_1, b_1, W_2, b_2, ...), each (B, ...), drawn anew by `init`, as `net` says.
    `batch_size`: how many of a network's n points its loss sees at a step, None for all. They are drawn with
    replacement, or in epochs where `epoch_seed` is an integer, as those of `MLPClassifier`.
    A wrong shape or value raises ValueError, a wrong kind TypeError. A loss that overflows is a Status of the unroll.

    >>> x = np.linspace(-1.0, 1.0, 5)[:, None]
    >>> task = MLPRegressor(MLP((1, 8, 1), "tanh", "fan_in"), x, np.stack([x**2, x**3]))
    >>> task.loss(task.init(np.random.default_rng(0)), None).shape
    (2,)
    """

    net: MLP
    x: Array
    y: Array
    validation: tuple[Array, Array] | None = None
    count: int | None = None
    batch_size: int | None = None
    epoch_seed: int | None = None

    def __post_init__(self) -> None:
        """Check the points."""
        if not isinstance(self.net, MLP):
            bad_type(_WHERE, "net", f"a {type(self.net).__name__}", "an MLP", "For example MLP((1, 40, 40, 1)).")
        held = self.validation
        if held is not None and (not isinstance(held, tuple) or len(held) != 2):
            bad_type(_WHERE, "validation", f"a {type(held).__name__}", "a pair (x, y)")
        given = {"x": self.x, "y": self.y} | dict(zip(("validation x", "validation y"), held or (), strict=False))
        for name, points in given.items():
            _check_points(self.net, name, points)
        checks.check_alike(_WHERE, given)
        if self.count is not None:
            arguments.count(_WHERE, "count", self.count)
        counts = {"count": self.count} | {k: a.shape[0] if a.ndim == 3 else None for k, a in given.items()}
        object.__setattr__(self, "count", checks.task_count(_WHERE, counts))
        for x, y in (("x", "y"), ("validation x", "validation y"))[: len(given) // 2]:
            if given[x].shape[-2] != given[y].shape[-2]:
                expected = f"{given[x].shape[-2]} points, as {x} has"
                bad_value(_WHERE, y, f"of shape {given[y].shape}", expected)
        checks.check_epochs(_WHERE, self.batch_size, self.epoch_seed, self.n)

    @property
    def networks(self) -> int:
        """The number of networks, B."""
        assert self.count is not None, "it is found where the task is made"
        return self.count

    @property
    def n(self) -> int:
        """The number of training points of a network."""
        return int(self.x.shape[-2])

    @property
    def full_batch(self) -> bool:
        """Whether every step sees all points."""
        return self.batch_size is None

    @property
    def settings(self) -> tuple[Any, ...]:
        """What the task is beside its data."""
        return self.net, self.count, self.batch_size, self.epoch_seed

    @property
    def data(self) -> tuple[Array, ...]:
        """The arrays (x, y), and those held out, which `with_data` takes."""
        return self.x, self.y, *(self.validation or ())

    def with_data(self, data: tuple[Array, ...]) -> MLPRegressor:
        """Return the task with other data of the same shapes, which are not looked at: they may be traced."""
        moved = copy.copy(self)
        vars(moved).update(x=data[0], y=data[1], validation=(data[2], data[3]) if len(data) > 2 else None)
        return moved

    def like(self) -> Tree:
        """Return arrays of the host in the shapes and dtypes of w: zeros, which take no memory."""
        zero = np.zeros((), self.x.dtype)
        return tuple(np.broadcast_to(zero, (self.networks, *shape)) for shape in self.net.shapes)

    def init(self, rng: np.random.Generator) -> Tree:
        """Return (W_1, b_1, W_2, b_2, ...), each (B, ...), drawn as `net` says."""
        xp = namespace(self.x)
        return tuple(xp.asarray(weights) for weights in self.net.draw(rng, self.networks, self.x.dtype))

    def sample(self, rng: np.random.Generator, t: int) -> Any:
        """Return which of their points the networks see at step t, (B, batch_size); None for all."""
        if self.batch_size is None:
            return None
        if self.epoch_seed is None:
            return rng.integers(self.n, size=(self.networks, self.batch_size))
        return epoch_rows(self.epoch_seed, t, self.networks, self.n, self.batch_size)

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the mean squared error (B,) on the points drawn, or on all where `sample` is None."""
        return self._error(w, *self._rows(sample))

    def gradient(self, w: Tree, sample: Any) -> Tree:
        """Return the gradient of `loss`: backpropagation of 2 (z - y)/(n q)."""
        x, y = self._rows(sample)
        layers = self.net.layers(w, x)
        return self.net.pullback(w, layers, (layers[-1] - y) * (2 / (y.shape[-2] * y.shape[-1])))

    def train_loss(self, w: Tree) -> Array:
        """Return the mean squared error on all training points, shape (B,)."""
        return self._error(w, self.x, self.y)

    def validation_loss(self, w: Tree) -> Array:
        """Return the mean squared error on the held-out points, shape (B,); ValueError without any."""
        if self.validation is None:
            remedy = "Give validation=(x, y): a task without query data can be learned from, but not be judged."
            bad_value(_WHERE, "validation", None, "held-out points, the query data of the task", remedy)
        return self._error(w, *self.validation)

    def outputs(self, w: Tree, x: Array) -> Array:
        """Return what the networks say at x (n, p) or (B, n, p): (B, n, q)."""
        return self.net.outputs(w, x)

    def _rows(self, sample: Any) -> tuple[Array, Array]:
        if sample is None:
            return self.x, self.y
        tasks = namespace(self.x).arange(self.networks)[:, None]
        x, y = (picked(a, sample) if a.ndim == 2 else picked(a, tasks, sample) for a in (self.x, self.y))
        return x, y

    def _error(self, w: Tree, x: Array, y: Array) -> Array:
        off = self.net.outputs(w, x) - y
        return np.mean(off * off, axis=(-2, -1))


def _check_points(net: MLP, name: str, points: Any) -> None:
    checks.check_array(_WHERE, name, points)
    width, what = (net.sizes[0], "inputs") if name.endswith("x") else (net.sizes[-1], "outputs")
    if points.ndim not in (2, 3) or points.shape[-1] != width or 0 in points.shape:
        expected = f"(n, {width}) or (B, n, {width}), as the network has {width} {what}"
        bad_value(_WHERE, name, f"of shape {points.shape}", expected, "One point a row: x[..., None].")
