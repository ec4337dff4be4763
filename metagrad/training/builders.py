"""What a config can name: tasks, optimizers, objectives and outer optimizers, each by a function of plain values."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from metagrad import checks, objectives, optimizers, tasks
from metagrad.data import ImageData, load_digits8x8, load_digits5000, load_fashion_mnist, load_mnist
from metagrad.errors import bad_value
from metagrad.protocols import Objective, Rule, Task
from metagrad.training import tuned

Tasks = Callable[[int], Task]
Measured = Literal["loss", "train", "validation", "risk", "squared_norm"]


def quadratics(dtype: Any, *, count: int = 128, d: int = 10) -> Tasks:
    """Return f = w'Hw/2, H = X'X of Wang et al. 2021."""
    _check_counts(count=count, d=d)
    return partial(_quadratics, count, d, dtype)


def _quadratics(count: int, d: int, dtype: Any, seed: int) -> Task:
    return tasks.random_quadratics(count, d, seed, dtype)


def regressions(
    dtype: Any,
    *,
    count: int = 128,
    d: int = 10,
    family: Literal["gaussian", "uniform"] = "gaussian",
    factor: float = 1.0,
) -> Tasks:
    """Return f = factor ||Ww - y||^2 of Andrychowicz et al. 2016."""
    _check_counts(count=count, d=d)
    return partial(_regressions, count, d, family, factor, dtype)


def _regressions(count: int, d: int, family: Any, factor: float, dtype: Any, seed: int) -> Task:
    return tasks.random_regressions(count, d, family=family, factor=factor, seed=seed, dtype=dtype)


def images(  # noqa: PLR0913 - the keys of a config, each of them named in it
    dtype: Any,
    *,
    data: Literal["digits5000", "digits8x8", "mnist", "fashion_mnist"],
    folder: str = "",
    sizes: tuple[int, ...] = (784, 20, 10),
    activation: Literal["sigmoid", "relu"] = "sigmoid",
    init_std: float | Literal["shape"] = 0.01,
    count: int = 1,
    batch_size: int = 128,
    train: int = 0,
    validation: int = 0,
) -> Tasks:
    """Return the classification of images by a network; train = 0 takes all images that are not for validation."""
    _check_counts(count=count, batch_size=batch_size)
    _check_counts(0, train=train, validation=validation)
    net = tasks.MLP(tuple(sizes), activation, init_std)
    return partial(_images, _image_data(data, folder), net, count, batch_size, train or None, validation, dtype)


def _images(
    data: ImageData, net: Any, count: int, batch_size: int, train: int | None, validation: int, dtype: Any, seed: int
) -> Task:
    held = {"train": train, "validation": validation, "seed": seed % 2**32, "dtype": dtype, "batch_size": batch_size}
    return tasks.image_classifiers(data, net, count, **held)


def _check_counts(least: int = 1, **given: int) -> None:
    """Raise ValueError, with the key of the config, for one below `least`: now, before a run begins with it."""
    for name, value in given.items():
        checks.count("config", f"[task] {name}", value, least)


def _image_data(name: str, folder: str) -> ImageData:
    if name == "digits5000":
        return load_digits5000()
    if name == "digits8x8":
        return load_digits8x8()
    if not folder:
        bad_value("config", "[task] folder", "missing", f"the folder of the {name} files", "Nothing is downloaded.")
    return load_mnist(folder) if name == "mnist" else load_fashion_mnist(folder)


def lstm(
    *,
    preset: Literal["paper", "dm", "quadratic"] = "quadratic",
    hidden: tuple[int, ...] = (20, 20),
) -> Rule:
    """Return the coordinate-wise LSTM."""
    rule: Rule = getattr(optimizers.CoordinatewiseLSTM, preset)(tuple(hidden))
    return rule


def mlp31(*, hidden: int = 32) -> Rule:
    """Return the MLP with 31 features."""
    return optimizers.MLP31(hidden)


def sum_(*, measure: Measured = "loss") -> Objective:
    """Return the sum over the window."""
    return objectives.WeightedSum(measure=measure)


def mean(*, measure: Measured = "loss") -> Objective:
    """Return the mean over the window."""
    return objectives.Mean(measure)


def last(*, measure: Measured = "loss") -> Objective:
    """Return the last of the window."""
    return objectives.Final(measure)


def mean_log(*, measure: Measured = "loss") -> Objective:
    """Return the mean of the logarithms over the window."""
    return objectives.MeanLog(measure=measure)


def log_last(*, measure: Measured = "loss") -> Objective:
    """Return the logarithm of the last of the window."""
    return objectives.LogFinal(measure)


def log_excess(
    *, floor: float | None = None, measure: Literal["train", "validation", "risk", "loss"] = "train"
) -> Objective:
    """Return the logarithm of what the last of the window is above a floor; without one the tasks know their excess."""
    return objectives.LogExcess(floor, measure)


def adam(*, eta: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> tuple[Rule, Any]:
    """Return Adam and its settings."""
    return _with_settings(optimizers.Adam(), optimizers.Adam.Phi(eta, beta1, beta2, eps))


def rmsprop(*, eta: float = 1e-2, rho: float = 0.9, eps: float = 1e-10) -> tuple[Rule, Any]:
    """Return RMSprop and its settings."""
    return _with_settings(optimizers.RMSprop(), optimizers.RMSprop.Phi(eta, rho, eps))


def sgd(*, eta: float) -> tuple[Rule, Any]:
    """Return gradient descent and its step size."""
    return _with_settings(optimizers.GradientDescent(), optimizers.GradientDescent.Phi(eta))


def _with_settings(rule: Any, settings: Any) -> tuple[Rule, Any]:
    return rule, rule.check_phi(settings, "config [outer]")


def numbers_of(values: dict[str, Any]) -> int:
    """Return how many numbers a task of a section [task], of a kind that comes with metagrad, holds at least.

    >>> numbers_of({"kind": "quadratics", "count": 3})
    300
    """
    known = inspect.signature(KINDS["task"][values["kind"]]).parameters
    of = {name: values.get(name, parameter.default) for name, parameter in known.items()}
    each = of["d"] ** 2 if "d" in of else sum(map(math.prod, pairwise(of["sizes"])))
    return int(of["count"] * each)


KINDS: dict[str, dict[str, Callable[..., Any]]] = {
    "task": {"quadratics": quadratics, "regressions": regressions, "images": images},
    "optimizer": {"lstm": lstm, "mlp31": mlp31, **tuned.KINDS},
    "objective": {
        "sum": sum_,
        "mean": mean,
        "last": last,
        "mean_log": mean_log,
        "log_last": log_last,
        "log_excess": log_excess,
    },
    "outer": {"adam": adam, "rmsprop": rmsprop, "sgd": sgd},
}
