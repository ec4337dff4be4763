"""Samples that pick entries of a task's data: a task that cannot have programs of its own has those of its kind."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import shared
from tests.replay.new_tasks import RULES, alike, numbers

N = 12


def draws(draw, t):
    return draw.integers(0, N, 5)


def by_index(seed):
    x, y = numbers(seed, 4, N, 3), numbers(seed + 1, 4, N)

    def loss(w, sample):
        return np.mean((np.einsum("bnd,bd->bn", x[:, sample], w) - y[:, sample]) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((4, 3)), sampler=draws)


def by_take(seed):
    x, y = numbers(seed, 4, N, 3), numbers(seed + 1, 4, N)

    def loss(w, sample):
        z = np.einsum("bnd,bd->bn", np.take(x, sample, axis=1), w)
        return np.mean(np.log1p(np.exp(-np.take(y, sample, axis=1) * z)), axis=-1)

    return mg.FunctionTask(loss, w0=np.ones((4, 3)), sampler=draws)


class OfAClass:
    """A task whose data are attributes, among them labels."""

    def __init__(self, seed):
        self.x, self.labels = numbers(seed, 4, N, 3), (numbers(seed + 1, N) > 0).astype(np.int64)

    def init(self, draw):
        return np.zeros((4, 3, 2))

    def sample(self, draw, t):
        return draws(draw, t)

    def loss(self, w, sample):
        z = np.einsum("bnd,bdk->bnk", self.x[:, sample], w)
        y = np.broadcast_to(self.labels[sample], z.shape[:2])
        picked = np.take_along_axis(z, y[..., None], axis=-1)[..., 0]
        return np.mean(np.log(np.sum(np.exp(z), axis=-1)) - picked, axis=-1)


FAMILIES = [by_index, by_take, OfAClass]
names = pytest.mark.parametrize("family", FAMILIES, ids=lambda x: x.__name__)


@names
@pytest.mark.parametrize("rule", RULES)
def test_one_task_again_and_again(rule, family):
    task = family(0)
    said = [alike(task, *RULES[rule], steps=14).replay for _ in range(8)]
    assert "28 of 28 steps, forwards and backwards, were replayed." in said


@names
def test_data_that_change_between_calls(family):
    task = family(0)
    held = task.x if family is OfAClass else task.function.__closure__[0].cell_contents
    for k in range(8):
        alike(task, steps=14)
        held *= 1.0 + 0.05 * k


@names
def test_tasks_in_turn(family):
    tasks = [family(seed) for seed in range(2)]
    for k in range(10):
        found = alike(tasks[k % 2], steps=14)
    assert "were replayed" in found.replay


def test_integers_out_of_range_raise():
    x = numbers(0, 4, N, 3)

    def loss(w, sample):
        return np.mean(np.einsum("bnd,bd->bn", x[:, sample], w) ** 2, axis=-1)

    task = mg.FunctionTask(loss, w0=np.ones((4, 3)), sampler=lambda draw, t: draw.integers(0, N, 5) + (t == 9) * N)
    for _ in range(6):
        with pytest.raises(IndexError):
            mg.meta_gradient(task, *RULES["GD"][:1], mg.WeightedSum(), 0.05, steps=14)


def test_samples_of_other_sizes():
    x = numbers(0, 4, N, 3)

    def loss(w, sample):
        return np.mean(np.einsum("bnd,bd->bn", x[:, sample], w) ** 2, axis=-1)

    task = mg.FunctionTask(loss, w0=np.ones((4, 3)), sampler=lambda draw, t: draw.integers(0, N, 3 + t % 3))
    for _ in range(6):
        alike(task, steps=14)


def test_what_no_kind_can_do_is_the_tapes():
    """Where the kind is refused, too, the reason is said, and nothing is tried again at every call."""
    x = numbers(0, 4, N, 3)

    def loss(w, sample):
        return np.mean(np.einsum("bnd,bd->bn", x[:, sample] * float(w[0, 0] > 9), w) ** 2 + w[:, :1], axis=-1)

    task = mg.FunctionTask(loss, w0=np.ones((4, 3)), sampler=draws)
    for _ in range(6):
        found = alike(task, steps=14)
    assert found.replay.startswith("Every step was taken by the tape.")
    assert all(kind.is_refused for kind in shared._KINDS)
