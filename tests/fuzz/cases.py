"""What is asked: one case of the fuzz, and the Python that asks metagrad for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LOSSES = {
    "square": "0.5 * np.sum(w * w, axis=-1)",
    "polynomial": "np.sum(c2 * w**2 / 2 + c4 * w**4 / 4, axis=-1)",
    "cubic": "np.sum(w**3 / 3 - w**2 / 2, axis=-1)",
    "logistic": "np.mean(np.log1p(np.exp(-np.abs(m(w)))) + np.maximum(-m(w), 0.0), axis=-1)",
}
OWN = tuple(_LOSSES)


@dataclass(frozen=True)
class Case:
    """One call of metagrad: all arrays hold numbers of `dtype`.

    `data`: w0 (B, d), and by `task` eigenvalues (B, d); H (d, d) or (B, d, d); X (n, d) or (B, n, d) with y (B, n),
    and X_val, y_val, w_star; c2 and c4; x (B, n, d), whose rows carry their labels as signs. `phi`: the
    meta-parameters by name, numbers, (d,) arrays, (B,) arrays with `options["per_task"]`, and arrays (T, ...) for
    those that are `scheduled`.
    """

    task: str
    dtype: str
    data: dict[str, Any]
    rule: str
    phi: dict[str, Any]
    objective: str
    steps: int
    method: str = "reverse"
    measure: str = "loss"
    rho: float = 1.0
    scheduled: tuple[str, ...] = ()
    degree: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        return int(self.data["w0"].shape[0])

    @property
    def d(self) -> int:
        return int(self.data["w0"].shape[1])

    @property
    def per_task(self) -> bool:
        return bool(self.options.get("per_task", False))

    @property
    def family(self) -> str:
        """What the table of outcomes calls it."""
        return f"{self.task} {self.rule}"


def snippet(case: Case) -> str:
    """Return the Python that asks for this case; it leaves the answer in `found`."""
    return "\n".join(
        [
            "import numpy as np, metagrad as mg",
            *_task_lines(case),
            f"rule = {_rule(case)}",
            f"phi = rule.Phi({', '.join(f'{name}={_shown(x, case.dtype)}' for name, x in case.phi.items())})",
            f"found = {_call(case)}",
        ]
    )


def run(case: Case) -> Any:
    """Return the Estimate of metagrad."""
    names: dict[str, Any] = {}
    with np.errstate(all="ignore"):  # losses of one's own overflow where they are first looked at
        exec(compile(snippet(case), "<case>", "exec"), names)
    return names["found"]


def _task_lines(case: Case) -> list[str]:
    data = {name: _shown(x, case.dtype) for name, x in case.data.items()}
    if case.task == "diagonal":
        return [f"task = mg.DiagonalQuadratic({data['eigenvalues']}, {data['w0']})"]
    if case.task == "dense":
        return [f"task = mg.Quadratic({data['H']}, {data['w0']})"]
    if case.task == "least_squares":
        rest = f", w0={data['w0']}"
        if "X_val" in data:
            rest += f", validation=({data['X_val']}, {data['y_val']})"
        if "w_star" in data:
            rest += f", w_star={data['w_star']}"
        centred = ".centred()" if "centred" in case.options else ""
        return [f"task = mg.LeastSquares({data['X']}, {data['y']}{rest}){centred}"]
    known = [f"{name} = {data[name]}" for name in ("c2", "c4", "x") if name in data]
    if case.task == "logistic":
        known.append("m = lambda w: np.einsum('bni,bi->bn', x, w)")
    degree = "" if case.degree is None else f", degree={case.degree}"
    return [*known, f"task = mg.FunctionTask(lambda w: {_LOSSES[case.task]}, {data['w0']}{degree})"]


def _rule(case: Case) -> str:
    rule = f"mg.{case.rule}()"
    if not case.scheduled:
        return rule
    every = set(case.scheduled) == set(case.phi)
    return f"mg.Scheduled({rule})" if every else f"mg.Scheduled({rule}, {case.scheduled!r})"


def _call(case: Case) -> str:
    measure = [] if case.measure == "loss" or case.objective == "LogExcess" else [f"measure={case.measure!r}"]
    if case.objective == "WeightedSum":
        measure.insert(0, f"rho={case.rho!r}")
    objective = f"mg.{case.objective}({', '.join(measure)})"
    options = "".join(f", {name}={value!r}" for name, value in case.options.items() if name != "centred")
    if case.method == "value":
        return f"mg.value(task, rule, {objective}, phi, steps={case.steps}{options})"
    return f"mg.meta_gradient(task, rule, {objective}, phi, steps={case.steps}, method={case.method!r}{options})"


def _shown(x: Any, dtype: str) -> str:
    if isinstance(x, float):
        return repr(x)
    numbers = x.tolist() if dtype == "float64" else _shortest(x)
    return f"np.array({numbers!r}, {dtype!r})"


def _shortest(x: Any) -> Any:
    return float(str(x[()])) if x.ndim == 0 else [_shortest(row) for row in x]


def held(x: Any, dtype: str) -> Any:
    """Return the nearest numbers of the dtype: an array, or a float."""
    near = np.asarray(x).astype(dtype)
    return float(near) if isinstance(x, float) else near
