"""Three learned starts: where MAML, its first order and Reptile end, and their expansions in the inner step size.

Linear regression tasks, n samples and 2 inputs each, whose inputs are small in some tasks and large in others; the
inner loop is k steps of gradient descent of size alpha (in units of 1/L, L the largest curvature), and the query loss
is that of the task. Every method runs to its end with its own gradients of the engine: `MetaTrainer` with the whole
derivative (MAML), without the Hessians (FOMAML), and with the way phi - w_k (Reptile).
The expansions hold for smooth losses and independent minibatches; the loss here is that of a small network. All
sequences of k minibatches run side by side, so that means are exact, and only the losses are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

import metagrad as mg
from analysis._smooth_minibatches import Draw, Sequences, derivatives
from analysis.framework.checks import at_least, at_most, between, mean_interval
from analysis.framework.contract import Table, Verdict
from metagrad.estimators import Reptile, Reverse
from metagrad.theory.starts import METHODS, QuadraticTasks, fixed_point
from metagrad.xp import rng

claim = (
    "MAML, first-order MAML and Reptile have three different fixed points, and each comes to its own to rounding; to "
    "first order in the step size they leave the minimum of the mean loss along one direction, as all three follow "
    "the mean gradient A less a multiple of the same B (Nichol, Achiam and Schulman 2018, section 5), with an error "
    "like alpha^2"
)
ROUNDING = 1e-11  # of the size of the tasks' minima


@dataclass(frozen=True)
class Config:
    """Tasks, their samples, inner steps k, step sizes over 1/L; losses and minibatches of the expansions."""

    tasks: int = 6
    samples: int = 12
    steps: int = 3
    alphas: tuple[float, ...] = (0.001, 0.1, 0.25, 0.45)
    more: tuple[int, ...] = (2, 4, 8, 16)  # inner steps, at the step size `of_more`
    of_more: float = 0.05
    meta_steps: int = 120
    losses: int = 12
    minibatches: int = 3
    lengths: tuple[int, ...] = (2, 3, 4)
    small: tuple[float, ...] = (1e-4, 1e-3, 1e-2)


presets = {
    "quick": Config(),
    "default": Config(alphas=(0.001, 0.05, 0.1, 0.18, 0.25, 0.35, 0.45), losses=30),
    "paper": Config(alphas=(0.001, 0.05, 0.1, 0.18, 0.25, 0.35, 0.45), losses=200, lengths=(2, 3, 4, 5)),
}
expected_seconds = {"quick": 5.0, "default": 15.0, "paper": 120.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    by_method = [f"{what}_{name}" for what in ("ends", "slope", "rate") for name in METHODS]
    return (*by_method[:3], "apart", "speed_maml", "speed_reptile", *by_method[3:])


def shards(config: Config) -> list[dict[str, Any]]:
    """One step size with all methods each, and the losses in blocks."""
    runs: list[dict[str, Any]] = [{"what": "ends", "alpha": alpha, "k": config.steps} for alpha in config.alphas]
    runs += [{"what": "more", "alpha": config.of_more, "k": k} for k in config.more]
    return [{"what": "closed"}, *runs] + [{"what": "expansion", "first": i} for i in range(0, config.losses, 6)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Run every method to its end, take the meta-gradients of some losses, or the closed form along step sizes."""
    if shard["what"] == "closed":
        return _closed(config, context.seed)
    if shard["what"] in ("ends", "more"):
        return {shard["what"]: _ends(config, shard["alpha"], shard["k"], context.seed)}
    numbers = range(shard["first"], min(shard["first"] + 6, config.losses))
    found = [_expansions(config, context.seed, number) for number in numbers]
    return {"errors": np.stack([x for x, _ in found]), "rates": np.stack([x for _, x in found])}


def _tasks(config: Config, seed: int) -> tuple[mg.LeastSquares, QuadraticTasks]:
    """Return the regression tasks, scaled so that the largest curvature is 1, and their quadratics."""
    stream = rng(seed, "learned_starts")
    scales = np.geomspace(0.15, 1.0, config.tasks) ** 0.5
    X = scales[:, None, None] * stream.standard_normal((config.tasks, config.samples, 2))
    X /= np.sqrt(np.linalg.eigvalsh(np.swapaxes(X, 1, 2) @ X / config.samples).max())
    w = stream.standard_normal((config.tasks, 2))
    y = np.einsum("tni,ti->tn", X, w) + 0.1 * scales[:, None] * stream.standard_normal((config.tasks, config.samples))
    H, g = np.swapaxes(X, 1, 2) @ X / config.samples, np.einsum("tni,tn->ti", X, y) / config.samples
    return mg.LeastSquares(X, y), QuadraticTasks((H + np.swapaxes(H, 1, 2)) / 2, g)


def _estimator(method: str, alpha: float) -> Any:
    if method == "reptile":
        return Reptile(step_size=alpha)
    return Reverse(gradient="full" if method == "maml" else "stop_gradient")


def _ends(config: Config, alpha: float, k: int, seed: int) -> np.ndarray:
    """Return the path of every method, (methods, meta-steps + 1, 2), from the start 0."""
    data, quadratics = _tasks(config, seed)
    paths = []
    for method in METHODS:
        phi = mg.Joint(rule=alpha, task=np.zeros(2))
        length = 1.4 / np.trace(_slope(quadratics.H, method, alpha, k).mean(axis=0))  # stable: below 2/L
        outer = mg.Descent(mg.Joint(rule=mg.GradientDescent.Phi(None), task=length), power=0.0)
        estimator = _estimator(method, alpha)
        asked = mg.LearnedStart(data), mg.GradientDescent(), mg.Final("train"), k
        run = mg.MetaTrainer(*asked, estimator=estimator, outer=outer).run(phi, config.meta_steps)
        at = [i for i, name in enumerate(run.names) if "task" in name]
        paths.append(run.phi[:, at].reshape(config.meta_steps + 1, 2))
    return np.stack(paths)


def _slope(H: np.ndarray, method: str, alpha: float, k: int) -> np.ndarray:
    """Return the derivative of a method's meta-gradient in the start, task by task, for the size of outer steps."""
    kept = np.linalg.matrix_power(np.eye(2) - alpha * H, k)
    found: np.ndarray = {"maml": kept @ H @ kept, "fomaml": H @ kept, "reptile": (np.eye(2) - kept) / alpha}[method]
    return found


def _closed(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Return the fixed points at the step sizes run and along a line, (methods, ..., 2), the minima and their mean."""
    _, quadratics = _tasks(config, seed)
    line = np.linspace(0.001, max(config.alphas), 40)

    def points(alphas: Any, steps: Any = (config.steps,)) -> np.ndarray:
        at = [(a, k) for a in alphas for k in steps]
        return np.array([[fixed_point(quadratics, a, k, method=name) for a, k in at] for name in METHODS])

    return {
        "closed": points(config.alphas),
        "line": points(line),
        "closed_more": points([config.of_more], config.more),
        "line_alphas": line,
        "minima": np.linalg.solve(quadratics.H, quadratics.g[..., None])[..., 0],
        "joint": np.linalg.solve(quadratics.H.sum(axis=0), quadratics.g.sum(axis=0)),
    }


def _expansions(config: Config, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors (methods, lengths, small), relative to A, and the rates of B (methods, lengths).

    The rate is what the engine's gradient is along -alpha B, extrapolated to alpha = 0 from the two smallest steps.
    """
    draw = Draw.of(config.minibatches, seed, number)
    A, B = derivatives(draw)
    errors, rates = [], []
    for method in METHODS:
        for k in config.lengths:
            of_A, of_B = _coefficients(method, k)
            task = mg.LearnedStart(Sequences.every(draw, k))
            found = []
            for alpha in config.small:
                ask = (task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(alpha, draw.start))
                how = _estimator(method, alpha)
                estimate = mg.meta_gradient(*ask, steps=k if method == "reptile" else k - 1, method=how)
                found.append(np.asarray(estimate.grad.task.to_float()))
            by_formula = [of_A * A - of_B * alpha * B for alpha in config.small]
            errors.append([np.linalg.norm(x - y) for x, y in zip(found, by_formula, strict=True)])
            one, two = ((of_A * A - found[i]) @ B / (config.small[i] * (B @ B)) for i in (0, 1))
            low, high = config.small[:2]
            rates.append((one * high - two * low) / (high - low))
    shape = len(METHODS), len(config.lengths)
    return np.array(errors).reshape(*shape, -1) / np.linalg.norm(A), np.array(rates).reshape(shape)


def _coefficients(method: str, k: int) -> tuple[float, float]:
    """Return the coefficients of A and of -alpha B for k minibatches, the query among them."""
    return {"maml": (1, 2 * (k - 1)), "fomaml": (1, k - 1), "reptile": (k, k * (k - 1) / 2)}[method]


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Put the runs beside the closed form, and gather the losses."""
    arrays = {
        **parts[0],
        "alphas": np.array(config.alphas),
        "paths": np.stack([part["ends"] for part in parts if "ends" in part], axis=1),
        "more": np.stack([part["more"] for part in parts if "more" in part], axis=1),
        "errors": np.concatenate([part["errors"] for part in parts if "errors" in part]),
        "rates": np.concatenate([part["rates"] for part in parts if "rates" in part]),
        "small": np.array(config.small),
        "lengths": np.array(config.lengths),
    }
    names: dict[str, Any] = dict.fromkeys(("paths", "closed", "line", "more", "closed_more"), (METHODS,))
    names |= dict.fromkeys(("errors", "rates"), (None, METHODS))
    units = {"alphas": "1/L", "line_alphas": "1/L", "paths": "1", "minima": "1"}
    return Table(arrays, units, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare ends with the closed form, the ends with each other, and the engine's gradients with the expansions."""
    arrays, checks = table.arrays, []
    size = np.sqrt(np.mean(np.sum(arrays["minima"] ** 2, axis=1)))
    ends = arrays["paths"][:, :, -1]
    off = np.linalg.norm(ends - arrays["closed"], axis=-1) / size
    off_more = np.linalg.norm(arrays["more"][:, :, -1] - arrays["closed_more"], axis=-1) / size
    for i, name in enumerate(METHODS):
        what = f"{name}: distance of the end of its run from its fixed point, over the rms minimum, largest"
        checks.append(at_most(f"ends_{name}", what, [*off[i], *off_more[i]], ROUNDING))
    apart = [np.linalg.norm(ends[i, -1] - ends[j, -1]) / size for i, j in combinations(range(3), 2)]
    what = "distance of two ends at the largest step size, over the rms minimum, least"
    checks.append(at_least("apart", what, apart, 1e-4))
    left = np.linalg.norm(ends[:, 0] - arrays["joint"], axis=-1)
    for name, expected in (("maml", 2.0), ("reptile", (config.steps - 1) / (2 * config.steps))):
        ratio = left[METHODS.index(name)] / left[METHODS.index("fomaml")] / expected
        what = f"way from the joint minimum at alpha = {config.alphas[0]:g}/L, {name} over fomaml, over {expected:.4g}"
        checks.append(between(f"speed_{name}", what, ratio, 0.98, 1.02))
    x = np.log(config.small) - np.log(config.small).mean()
    slopes = np.sum(np.log(arrays["errors"]) * x, axis=-1) / np.sum(x**2)
    for i, name in enumerate(METHODS):
        each = slopes[:, i].mean(axis=1)
        what = f"{name}: exponent of alpha in the error of the expansion, mean over losses"
        checks.append(between(f"slope_{name}", what, each.mean(), 1.9, 2.1, mean_interval(each)))
    for i, name in enumerate(METHODS):
        formula = np.array([_coefficients(name, k)[1] for k in config.lengths])
        what = f"{name}: measured coefficient of -alpha B over the formula, less 1, largest over losses and k"
        checks.append(at_most(f"rate_{name}", what, np.abs(arrays["rates"][:, i] / formula - 1), 1e-3))
    return Verdict(claim, checks)
