"""What a meta-training run on a fixed task did: by number, by the names of the meta-parameters, as a table, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metagrad import ad, checks, files
from metagrad.errors import Status, bad_type, bad_value, nearest
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.scaled.ranges import shown
from metagrad.training.csv_lines import csv_line
from metagrad.training.drawing import axes_of, finish, is_logarithmic, look
from metagrad.xp import Array

Column = Literal["phi", "grad_log2", "grad_sign", "projected", "skipped"]
_COLUMNS = ["phi", "grad_log2", "grad_sign", "projected", "skipped"]
_PLOTS = ["objective", "phi"]
_MOST_SAID = 4  # meta-parameters in a repr
_MOST_LINES = 7  # in one plot; of a leaf with more numbers the middle and the spread are drawn
_LOG10_LARGEST = 300.0
_LOG10_2 = float(np.log10(2.0))


@dataclass(frozen=True, repr=False)
class MetaRun:
    """What a meta-training run did, for K meta-steps on B tasks and P meta-parameters (the leaves of phi, flat).

    `phi` (K+1, P): the meta-parameters before each meta-step and after the last; `names`: what each of them is called.
    `value_log2`, `value_sign` (K, B) and `grad_log2`, `grad_sign` (K, P): objective and meta-gradient, of any size.
    `status` (K, B): codes of `Status`. `projected` (K, P): where a meta-step led out of the range of the rule, and phi
    is the nearest number in it. `skipped` (K, P): where it led to no number, and phi stayed. `shapes`: the name of
    every leaf of phi and its shape, in the order of the columns; `named` gives the columns of each, and `last` the
    meta-parameters that the run ended with, as a tree.
    """

    phi: Array
    names: tuple[str, ...]
    value_log2: Array
    value_sign: Array
    grad_log2: Array
    grad_sign: Array
    status: Array
    projected: Array
    skipped: Array
    shapes: dict[str, tuple[int, ...]]
    first: Tree  # phi before the first meta-step, as a tree

    @property
    def last(self) -> Tree:
        """The meta-parameters after the last meta-step, a tree like those that the run began with.

        >>> import metagrad as mg
        >>> trainer = mg.MetaTrainer(mg.Quadratic(np.eye(2), np.ones(2)), mg.Momentum(), mg.Final(), steps=3)
        >>> trainer.run(mg.Momentum.Phi(0.1, 0.5), 4).last._fields
        ('eta', 'mu')
        """
        return ad.unflatten(self.first, [column[-1] for column in self.named().values()])

    @property
    def meta_steps(self) -> int:
        """How many meta-steps were done."""
        return int(self.status.shape[0])

    def named(self, column: Column = "phi") -> dict[str, Array]:
        """Return a column leaf by leaf: from the name of each leaf of phi to its history, in the shape of the leaf.

        `column`: "phi" (K+1, ...), or "grad_log2", "grad_sign", "projected", "skipped" (K, ...), where ... is the shape
        of the leaf: none for a number, (B,) where phi was given task by task, that of the array for a network. The
        names are those of the fields of phi, such as "eta", "layers[0].weight" or "phi['eta']" for a dict.

        >>> import metagrad as mg
        >>> trainer = mg.MetaTrainer(mg.Quadratic(np.eye(2), np.ones(2)), mg.Momentum(), mg.LogFinal(), steps=3)
        >>> run = trainer.run(mg.Momentum.Phi(0.1, 0.5), 4)
        >>> {name: x.shape for name, x in run.named().items()}
        {'eta': (5,), 'mu': (5,)}
        """
        checks.choice("MetaRun.named", "column", column, _COLUMNS)
        table, found, first = getattr(self, column), {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape, dtype=np.int64))
            found[name] = table[:, first : first + size].reshape(len(table), *shape)
            first += size
        return found

    @property
    def objective(self) -> Scaled:
        """The objective (K,) before each meta-step, the mean over tasks, of any size."""
        return Scaled.from_log(self.value_sign, self.value_log2 * np.log(2.0)).mean(axis=1)

    def to_csv(self, path: str | Path) -> None:
        """Write a table with a row for phi before each meta-step and after the last one, in one step.

        `meta_step` 0, 1, ..., K; a column for each of `names`; then, empty in the last row, where nothing was measured:
        `objective_sign` and `objective_log10` (of the mean over tasks) and `gradient_log10` (of the Euclidean norm over
        all meta-parameters), since they may be out of the range of floats; `projected`, `skipped`: of how many
        meta-parameters; `status`: the names of those met, "OK" where all tasks are. NaN is empty, inf is "inf".
        """
        path = checks.file_path("MetaRun.to_csv", "path", path)
        if not path.parent.is_dir():
            bad_value("MetaRun.to_csv", "path", path, "a file in a folder that exists", "Make the folder first.")
        measured = "objective_sign", "objective_log10", "gradient_log10", "projected", "skipped", "status"
        lines = [csv_line(["meta_step", *self.names, *measured])]
        with np.errstate(invalid="ignore"):  # NaN stays NaN
            objective, gradient = self.objective, 0.5 * np.logaddexp2.reduce(2.0 * self.grad_log2, axis=1) * _LOG10_2
        columns = zip(
            objective.sign(),
            objective.log10abs(),
            gradient,
            self.projected.sum(axis=1),
            self.skipped.sum(axis=1),
            [";".join(Status.from_code(code).name for code in np.unique(row)) for row in self.status],
            strict=True,
        )
        for k, (phi, found) in enumerate(zip(self.phi, [*columns, [None] * len(measured)], strict=True)):
            lines.append(csv_line([k, *phi, *found]))
        files.write(path, b"".join(lines))

    def plot(
        self, what: Literal["objective", "phi"] = "objective", *, names: Sequence[str] | None = None, ax: Any = None
    ) -> Any:
        """Draw the objective, or the meta-parameters, over the meta-steps; return the axes, of matplotlib.

        `what`: "objective", the mean over tasks with the range of all tasks around it, with a cross where a task had a
        `Status` other than OK; or "phi", a line a number, and for a leaf of many numbers their median and the range of
        the middle 80 %. `names`: the leaves of phi to draw, of those in `named`; all by default. `ax`: where to draw;
        None makes a figure. The scale is logarithmic where all is above 0 and spans more than a decade; what is outside
        the range of floats is drawn as its log10.
        """
        where = "MetaRun.plot"
        checks.choice(where, "what", what, _PLOTS)
        leaves = self._chosen(where, names)
        axes = axes_of(where, ax)
        if what == "objective":
            self._draw_objective(axes)
        else:
            _draw_leaves(axes, {name: x for name, x in self.named().items() if name in leaves})
        return axes

    def _chosen(self, where: str, names: Sequence[str] | None) -> list[str]:
        known = list(self.shapes)
        if names is None:
            return known
        if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(x, str) for x in names):
            bad_type(where, "names", checks.shown(names), "a list of names", f"Known: {known}.")
        for name in names:
            if name not in known:
                bad_value(where, "names", repr(name), "a name of a leaf of phi", nearest(name, known))
        return list(names)

    def _draw_objective(self, axes: Any) -> None:
        mean, tasks, k = self.objective, self.status.shape[1], np.arange(self.meta_steps)
        powers = self.value_log2 * _LOG10_2
        finite = powers[np.isfinite(powers)]
        fits = not finite.size or bool(np.abs(finite).max() < _LOG10_LARGEST)
        with np.errstate(invalid="ignore"):
            middle = mean.sign() * 10.0 ** mean.log10abs() if fits else mean.log10abs()
            each = self.value_sign * 10.0**powers if fits else powers
        if tasks > 1:
            axes.fill_between(
                k, each.min(axis=1), each.max(axis=1), color="0.85", lw=0, label=f"range of {tasks} tasks"
            )
        axes.plot(k, middle, **look(0, len(k)), label="mean over tasks" if tasks > 1 else "objective")
        bad = (self.status != 0).any(axis=1) & np.isfinite(middle)
        if bad.any():
            axes.plot(k[bad], middle[bad], "x", color="0.35", ms=7, label="a status other than OK")
        label = "meta-objective (its own unit)" if fits else "log10 of |meta-objective|"
        finish(axes, "meta-steps done", label, logarithmic=fits and is_logarithmic([each, middle]))

    def __repr__(self) -> str:
        """Say in a few words how long it was, from where to where it went, and whether all was well."""
        steps, tasks = self.status.shape
        bad = int((self.status != 0).any(axis=1).sum())
        said = f"{steps} meta-step{'s' * (steps != 1)} on {tasks} task{'s' * (tasks != 1)}; "
        ends = [f"{name} {a:.4g} -> {b:.4g}" for name, a, b in zip(self.names, self.phi[0], self.phi[-1], strict=True)]
        said += ", ".join(ends) if len(ends) <= _MOST_SAID else f"{len(ends)} meta-parameters"
        first, last = (shown([x.sign()], [x.log10abs()]) for x in (self.objective[0], self.objective[-1]))
        return f"MetaRun({said}; objective {first} -> {last}; {f'status in {bad} of {steps} steps' if bad else 'OK'})"


def _draw_leaves(axes: Any, leaves: dict[str, Array]) -> None:
    """Draw a line a number, or the middle and the spread of a leaf of many."""
    every: list[Array] = []
    lines, count = 0, sum(x[0].size for x in leaves.values())
    for name, history in leaves.items():
        flat = history.reshape(len(history), -1)
        k = np.arange(len(flat))
        if count <= _MOST_LINES or flat.shape[1] == 1:
            for column, at in zip(flat.T, np.ndindex(history.shape[1:]), strict=True):
                label = f"{name}[{', '.join(map(str, at))}]" if at else name
                axes.plot(k, column, **look(lines, len(k)), label=label)
                every.append(column)
                lines += 1
            continue
        low, middle, high = np.quantile(flat, [0.1, 0.5, 0.9], axis=1)
        style = look(lines, len(k))
        axes.fill_between(k, low, high, color=style["color"], alpha=0.15, lw=0)
        axes.plot(k, middle, **style, label=f"{name}: median and middle 80 % of {flat.shape[1]}")
        every += [low, middle, high]
        lines += 1
    finish(axes, "meta-steps done", "meta-parameter (its own unit)", logarithmic=is_logarithmic(every))
