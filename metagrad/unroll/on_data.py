"""Tasks that are alike but for their data: a program of one of them serves all, with the data for inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad import parts
from metagrad.protocols import Task, Tree
from metagrad.replay import Apart, Kind, kind_of
from metagrad.tasks import FunctionTask
from metagrad.tasks._network import MLP
from metagrad.tasks.mlp_regressor import MLPRegressor
from metagrad.xp import Array, is_laid_out


class Told(NamedTuple):
    """A task apart: what all of its kind have in common, its data, and all tasks that are like it.

    `kind`: that of the code of a user's task, None for ours.
    """

    settings: tuple[Any, ...]
    data: tuple[Any, ...]
    all_like_it: Callable[[], Any]
    kind: Kind | None = None


def told(task: Task) -> Told | None:
    """Return what a task is made of, which draws no samples; None where it is not to be told, and for others of ours.

    None for a network of a class of a user's, too, which may be more than its settings, and for data on a device.
    """
    if is_users(task):
        return _told_of_code(task)
    if type(task) is not MLPRegressor or type(task.net) is not MLP or not task.full_batch:
        return None
    if not all(map(_is_in_order, task.data)):
        return None
    data = tuple(map(np.ascontiguousarray, task.data))
    return Told((MLPRegressor, *task.settings), data, lambda: OnData(task))


def is_users(task: Task) -> bool:
    """Whether the code of a task is a user's."""
    return type(task) is FunctionTask or not type(task).__module__.startswith("metagrad.")


def _told_of_code(task: Task) -> Told | None:
    inherits = type(task) is not FunctionTask and any(x.__module__.startswith("metagrad.") for x in type(task).__mro__)
    if parts.is_random(task) or parts.has_given(task) or inherits:
        return None
    apart = Apart(task)
    kind = kind_of(apart, task)
    if kind is None or kind.is_refused:
        return None
    return Told((kind,), apart.data, lambda: OfCode(task, apart), kind)


def _is_in_order(x: Any) -> bool:
    """Whether the points of each network lie in memory as those of a copy do: support and query are parts of one."""
    if type(x) is not np.ndarray or x.ndim == 2:
        return is_laid_out(x)
    return is_laid_out(x[0]) and x[0].flags.c_contiguous and x.strides[0] >= x[0].nbytes


class OnData:
    """All tasks that are like one of them, whose data come in the place of a sample.

    >>> import numpy as np, metagrad as mg
    >>> one, other = (mg.Sinusoids.maml(count=2)(seed) for seed in range(2))
    >>> w = one.init(np.random.default_rng(0))
    >>> bool((OnData(one).loss(w, other.data) == other.loss(w, None)).all())
    True
    """

    def __init__(self, like: MLPRegressor) -> None:
        """Take one of them."""
        self._like = like

    def init(self, rng: Any) -> Tree:
        """Return w_0, drawn anew."""
        return self._like.init(rng)

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the loss on the data."""
        return self._like.with_data(sample).loss(w, None)

    def gradient(self, w: Tree, sample: Any) -> Tree:
        """Return its gradient."""
        return self._like.with_data(sample).gradient(w, None)

    def train_loss(self, w: Tree, sample: Any) -> Array:
        """Return the loss on all training data."""
        return self._like.with_data(sample).train_loss(w)

    def validation_loss(self, w: Tree, sample: Any) -> Array:
        """Return the loss on the data that are held out."""
        return self._like.with_data(sample).validation_loss(w)


_MEASURED = frozenset(["train_loss", "validation_loss", "excess", "risk"])


class OfCode:
    """All tasks of one code of a user's, whose data come in the place of a sample."""

    def __init__(self, like: Task, apart: Apart) -> None:
        """Take one of them, and the same one apart."""
        self._like, self._apart = like, apart

    def init(self, rng: Any) -> Tree:
        """Return w_0 of the one."""
        return self._like.init(rng)

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the loss on the data."""
        return parts.loss(self._on(sample), w, None)

    def __getattr__(self, name: str) -> Any:
        """Return the gradient, or what is measured on the data, where the tasks have such a method."""
        if name not in _MEASURED and name != "gradient":
            raise AttributeError(name)
        if getattr(self._like, name, None) is None:
            raise AttributeError(name)

        def on_data(w: Tree, sample: Any) -> Any:
            task = self._on(sample)
            return parts.gradient(task, w, None) if name == "gradient" else parts.own_measure(task, name, w, None)

        return on_data

    def _on(self, data: Any) -> Task:
        task: Task = self._apart.with_data(data)
        return task
