"""Tasks that are alike but for their data: a program of one of them serves all, with the data for inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad.protocols import Task, Tree
from metagrad.tasks._network import MLP
from metagrad.tasks.mlp_regressor import MLPRegressor
from metagrad.xp import Array, is_laid_out


class Told(NamedTuple):
    """A task apart: what all of its kind have in common, and its data."""

    settings: tuple[Any, ...]
    data: tuple[Array, ...]


def told(task: Task) -> Told | None:
    """Return what a task of ours is made of, which draws no samples; None for others, and for data on a device.

    None for a network of a class of a user's, too, which may be more than its settings.
    """
    if type(task) is not MLPRegressor or type(task.net) is not MLP or not task.full_batch:
        return None
    if not all(map(_is_in_order, task.data)):
        return None
    data = tuple(map(np.ascontiguousarray, task.data))
    return Told((MLPRegressor, *task.settings), data)


def _is_in_order(x: Any) -> bool:
    """Whether the points of each network lie in memory as those of a copy do: support and query are parts of one."""
    if type(x) is not np.ndarray or x.ndim == 2:
        return is_laid_out(x)
    return is_laid_out(x[0]) and x[0].flags.c_contiguous and x.strides[0] >= x[0].nbytes


def on_data(task: Task | None) -> OnData:
    """Return all tasks that are like one that `told` tells apart."""
    assert type(task) is MLPRegressor, "`told` knows of it"
    return OnData(task)


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
