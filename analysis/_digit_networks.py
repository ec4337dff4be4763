"""Networks for real digits: which digits they learn from and are tested on, and how a rule does on them.

Of the 5,000 digits `load_digits5000` keeps 1,000 apart. Meta-training saw the other 4,000, and no others. Networks
learn from some or all of the 4,000, and are tested on the 1,000, which neither they nor meta-training saw; or they
learn from the 1,000, and then there are none left to test them on. Tuning sees the 4,000 alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from metagrad import MLP, image_classifiers
from metagrad.data import load_digits5000
from metagrad.unroll.rollout import rollout

NETS = {
    "trained": MLP((784, 20, 10), "sigmoid", 0.01),
    "units": MLP((784, 40, 10), "sigmoid", 0.01),
    "layers": MLP((784, 20, 20, 10), "sigmoid", 0.01),
    "relu": MLP((784, 20, 10), "relu", 0.01),
}
MEASURES = ("train_path", "train_end", "test_path", "test_end")
_TUNED_ON = 1000  # of the 4,000: what the test loss of the search is of


@dataclass(frozen=True)
class Digits:
    """How many digits a network learns from, and whether meta-training saw them."""

    learned: int
    seen: bool


DIGITS = {"few": Digits(1000, True), "many": Digits(4000, True), "unseen": Digits(1000, False)}


@dataclass(frozen=True)
class Networks:
    """Networks side by side, what they are tested on (None: nothing), and the seed of their starts and minibatches."""

    task: Any
    part: Literal["validation", "test"] | None
    seed: int

    def follow(self, rule: Any, phi: Any, steps: int, every: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return minibatch losses (steps + 1, networks), and test losses and accuracies after every so many steps."""
        at, losses, tests, shares = None, [], [], []
        for _ in range(0, steps, every):
            found, at = rollout(self.task, rule, phi, steps=every, seed=self.seed, at=at, run=steps, with_end=True)
            losses.append(found[1:] if losses else found)
            loss, share = self._tested(at.w)
            tests.append(loss)
            shares.append(share)
        return np.concatenate(losses).astype(float), np.array(tests, dtype=float), np.array(shares, dtype=float)

    def _tested(self, w: Any) -> tuple[Any, Any]:
        """Return test loss and accuracy (networks,), NaN where nothing is left to test on."""
        if self.part is None:
            return (np.full(self.task.networks, np.nan),) * 2
        test_loss = self.task.test_loss if self.part == "test" else self.task.validation_loss
        with np.errstate(all="ignore"):  # of a run that left the range
            return test_loss(w), self.task.accuracy(w, self.part)


def fresh(net: str, digits: str, count: int, seed: int, batch_size: int) -> Networks:
    """Return networks to compare on, each with digits of its own where it does not learn from all there are."""
    images, of = load_digits5000(), DIGITS[digits]
    if not of.seen:
        images = replace(images, train_x=images.test_x, train_y=images.test_y)
    task = image_classifiers(images, NETS[net], count, train=of.learned, seed=seed, batch_size=batch_size)
    return Networks(task, "test" if of.seen else None, seed)


def tuning(net: str, digits: str, count: int, seed: int, batch_size: int) -> Networks:
    """Return networks to tune on, for which every digit is one that meta-training saw."""
    images = load_digits5000()
    learned = min(DIGITS[digits].learned, len(images.train_y) - _TUNED_ON)
    split = {"train": learned, "validation": _TUNED_ON, "seed": seed, "batch_size": batch_size}
    return Networks(image_classifiers(images, NETS[net], count, **split), "validation", seed)


def scores(losses: np.ndarray, tests: np.ndarray, last: int) -> np.ndarray:
    """Return the four measures (measures, networks): mean over the run and loss at the end, in training and in test."""
    return np.stack([losses.mean(axis=0), losses[-last:].mean(axis=0), tests.mean(axis=0), tests[-1]])
