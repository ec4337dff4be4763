"""Adam's own numbers tuned by meta-gradient, without coordinates that keep them in their ranges."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import metagrad as mg
from metagrad.estimators import Reverse
from metagrad.protocols import Tree, View
from metagrad.training import NonFiniteError
from metagrad.training.trainer import Trainer


@dataclass(frozen=True)
class Watched:
    """The outer Adam, which keeps where it has been."""

    path: list[Tree] = field(default_factory=list)

    def init(self, phi: Any, w: Tree) -> Tree:
        self.path.append(w)
        return mg.Adam().init(phi, w)

    def step(self, phi: Any, state: Any, w: Tree, f: View) -> tuple[Tree, Tree]:
        moved, state = mg.Adam().step(phi, state, w, f)
        self.path.append(moved)
        return moved, state


def raw(run: Trainer, etas: tuple[float, ...], episodes: int) -> dict[str, np.ndarray]:
    """Return, for each outer step size, what becomes of Adam's own numbers: counts of episodes, 0 for never.

    `left` (outer step sizes, 4): after which each hyper-parameter is first out of its range; `lost`: the first whose
    meta-gradient is inf or NaN.
    """
    found = []
    rule: Any = run.optimizer
    # Trainer would bring Adam's own numbers back into their ranges: here nothing does.
    free = mg.Unconstrained(mg.Adam(), rule.start, maps=dict.fromkeys(mg.Adam.Phi._fields, "identity"))
    for eta in etas:
        outer, rows = Watched(), []
        recipe = replace(run.recipe, episodes=episodes)
        kept = {"outer": outer, "outer_phi": mg.Adam.Phi(eta), "estimator": Reverse(scaling="none")}
        trainer = replace(run, optimizer=free, recipe=recipe, **kept)
        with suppress(NonFiniteError):  # it is what was asked
            trainer.run(free.init_meta(None), progress=rows.append)
        path = np.array([[float(x) for x in phi] for phi in outer.path])
        out = ~(path > 0)
        out[:, 1:3] = ~((path[:, 1:3] >= 0) & (path[:, 1:3] < 1))
        lost = [row["episode"] + 1 for row in rows if row["nonfinite"]]
        found.append((out.argmax(axis=0), lost[0] if lost else 0))  # the start is within
    left, lost_at = zip(*found, strict=True)
    return {"left": np.array(left), "lost": np.array(lost_at)}
