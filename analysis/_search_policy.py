"""A search policy as a rule of the engine, and the functions that it searches as a task: both on histories.

A history is what was looked at and seen, ((x_1, y_1), .., (x_k, y_k)), k <= K. The parameters w of a task are the
probabilities of all histories, (B, histories): a step of the rule looks at one more point. The rule sees no function,
it asks: `look` takes the probability of each next point after each history, and moves it to the history that is found.
So the loss, the expected least value of those seen, is exact, and a polynomial in the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

import metagrad as mg


@dataclass(frozen=True)
class Histories:
    """All histories of at most `looks` of the points 0..n-1 with values 0..m-1, the empty one first."""

    points: int
    values: int
    looks: int

    @cached_property
    def all(self) -> list[tuple[tuple[int, int], ...]]:
        """Return the histories, shorter ones first."""
        found: list[tuple[tuple[int, int], ...]] = [()]
        for history in found:  # grows while it is read
            if len(history) < self.looks:
                left = set(range(self.points)) - {x for x, _ in history}
                found += [(*history, (x, y)) for x in sorted(left) for y in range(self.values)]
        return found

    @cached_property
    def inner(self) -> int:
        """How many have a look left: they come first."""
        return sum(len(history) < self.looks for history in self.all)

    @cached_property
    def open(self) -> np.ndarray:
        """Which points were not looked at, (inner, n)."""
        seen = [{x for x, _ in history} for history in self.all[: self.inner]]
        return np.array([[x not in points for x in range(self.points)] for points in seen])

    @cached_property
    def came_from(self) -> np.ndarray:
        """The history before the last look, its point and its value, (histories - 1, 3): all but the empty one."""
        number = {history: k for k, history in enumerate(self.all)}
        return np.array([(number[history[:-1]], *history[-1]) for history in self.all[1:]])

    @cached_property
    def least(self) -> np.ndarray:
        """The least value seen, (histories,); where nothing was, the largest there is."""
        return np.array([min((y for _, y in history), default=self.values - 1) for history in self.all], dtype=float)


@dataclass(frozen=True)
class Search:
    """A task is a set of functions to search: rows of values at the points, (B, functions, n), and which of them count.

    `among`: weights (B, functions), at least one above zero in each set. The loss of a set is their weighted mean.
    """

    functions: np.ndarray
    among: np.ndarray
    histories: Histories

    def init(self, rng: Any) -> np.ndarray:
        """Return certainty that nothing was seen, (B, functions, histories)."""
        w = np.zeros((*self.among.shape, len(self.histories.all)))
        w[..., 0] = 1
        return w

    def loss(self, w: Any, sample: Any) -> Any:
        """Return the expected least value seen so far, (B,)."""
        share = self.among / self.among.sum(axis=1, keepdims=True)
        return np.sum(np.sum(w * self.histories.least, axis=-1) * share, axis=-1)

    def look(self, chosen: Any, sample: Any) -> Any:
        """Return the probabilities of histories after the looks that are chosen, (B, functions, inner, n)."""
        before, x, y = self.histories.came_from.T
        found = chosen[..., before, x] * (self.functions[..., x] == y)
        return np.concatenate([np.zeros((*self.among.shape, 1)), found], axis=-1)


@dataclass(frozen=True)
class Policy:
    """A softmax over the next point, given the history; no point is looked at twice.

    One policy for all sets, or one of its own for each where the scores lead with the sets.
    """

    histories: Histories

    class Phi(NamedTuple):
        """What the softmax is of, (inner histories, points) or (B, inner histories, points)."""

        scores: np.ndarray

    def init(self, phi: Phi, w: Any) -> tuple[()]:
        """Return no state: w is the memory."""
        return ()

    def step(self, phi: Phi, state: tuple[()], w: Any, f: Any) -> tuple[Any, tuple[()]]:
        """Look at one more point after every history."""
        weight = np.exp(phi.scores - np.max(phi.scores, axis=-1, keepdims=True)) * self.histories.open
        share = weight / np.sum(weight, axis=-1, keepdims=True)
        chosen = w[..., : self.histories.inner, None] * (share if share.ndim == 2 else share[:, None])
        return f.ask("look", chosen), state


def sets_of(policy: Policy, functions: np.ndarray, sets: np.ndarray) -> Search:
    """Return the task whose b-th is the set of functions `sets[b]`, bools (B, F)."""
    alike = np.broadcast_to(functions, (len(sets), *functions.shape))
    return Search(alike.copy(), sets.astype(float), policy.histories)


def trained(policy: Policy, task: Search, *, meta_steps: int, rate: float) -> np.ndarray:
    """Return the scores of a policy for each set, (meta_steps + 1, B, inner, points), along the engine's outer loop.

    They begin at random search, which is the policy of equal scores.
    """
    outer = mg.training.Through(mg.Adam(), mg.Adam.Phi(rate))
    estimator = mg.Reverse(per_task=True)
    trainer = mg.MetaTrainer(task, policy, mg.Final(), policy.histories.looks, outer=outer, estimator=estimator)
    start = np.zeros((len(task.among), *policy.histories.open.shape))
    found: np.ndarray = trainer.run(policy.Phi(start), meta_steps).phi.reshape(-1, *start.shape)
    return found


def losses(policy: Policy, task: Search, scores: np.ndarray) -> np.ndarray:
    """Return the expected least value seen of each function, (B, F), by the policy of each set (B, inner, points)."""
    end = mg.rollout(task, policy, policy.Phi(scores), steps=policy.histories.looks, with_end=True)[1]
    return np.asarray(end.w @ policy.histories.least)


def gradient_size(policy: Policy, task: Search, scores: np.ndarray) -> np.ndarray:
    """Return the largest entry of the meta-gradient of each set, (B,), at policies of their own."""
    ask = task, policy, mg.Final(), policy.Phi(scores)
    found = mg.meta_gradient(*ask, steps=policy.histories.looks, per_task=True)
    size: np.ndarray = np.abs(found.grad.scores.to_float()).max(axis=(1, 2))
    return size
