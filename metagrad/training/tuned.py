"""The hand-designed optimizers that a config can name: where their hyper-parameters start, and which are held there.

All others are tuned, in coordinates that keep them within their range; see `Unconstrained`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from metagrad import optimizers
from metagrad.optimizers import Unconstrained

Names = tuple[str, ...]


def sgd(*, eta: float) -> Unconstrained:
    """Return gradient descent."""
    return _from(optimizers.GradientDescent(), optimizers.GradientDescent.Phi(eta))


def momentum(*, eta: float, mu: float = 0.9, fixed: Names = ()) -> Unconstrained:
    """Return gradient descent with momentum."""
    return _from(optimizers.Momentum(), optimizers.Momentum.Phi(eta, mu), fixed)


def nesterov(*, eta: float, mu: float = 0.9, fixed: Names = ()) -> Unconstrained:
    """Return gradient descent with Nesterov's momentum."""
    return _from(optimizers.Nesterov(), optimizers.Nesterov.Phi(eta, mu), fixed)


def rmsprop(
    *,
    eta: float,
    rho: float = 0.9,
    eps: float = 1e-8,
    form: Literal["torch", "tensorflow"] = "torch",
    fixed: Names = (),
) -> Unconstrained:
    """Return RMSprop."""
    return _from(optimizers.RMSprop(form), optimizers.RMSprop.Phi(eta, rho, eps), fixed)


def adagrad(*, eta: float, eps: float = 1e-8, fixed: Names = ()) -> Unconstrained:
    """Return Adagrad."""
    return _from(optimizers.Adagrad(), optimizers.Adagrad.Phi(eta, eps), fixed)


def adam(
    *, eta: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, fixed: Names = ()
) -> Unconstrained:
    """Return Adam."""
    return _from(optimizers.Adam(), optimizers.Adam.Phi(eta, beta1, beta2, eps), fixed)


def sgdw(*, eta: float, mu: float = 0.9, decay: float = 0.01, fixed: Names = ()) -> Unconstrained:
    """Return gradient descent with momentum and a decoupled decay of the weights."""
    return _from(optimizers.SGDW(), optimizers.SGDW.Phi(eta, mu, decay), fixed)


def adamw(
    *,
    eta: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    decay: float = 0.01,
    fixed: Names = (),
) -> Unconstrained:
    """Return Adam with a decoupled decay of the weights."""
    return _from(optimizers.AdamW(), optimizers.AdamW.Phi(eta, beta1, beta2, eps, decay), fixed)


def nadam(
    *, eta: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, fixed: Names = ()
) -> Unconstrained:
    """Return Adam with Nesterov's momentum."""
    return _from(optimizers.NAdam(), optimizers.NAdam.Phi(eta, beta1, beta2, eps), fixed)


def lion(
    *, eta: float, beta1: float = 0.9, beta2: float = 0.99, decay: float = 0.01, fixed: Names = ()
) -> Unconstrained:
    """Return Lion, whose betas have no derivative: hold them with `fixed`."""
    return _from(optimizers.Lion(), optimizers.Lion.Phi(eta, beta1, beta2, decay), fixed)


def adan(
    *,
    eta: float,
    beta1: float = 0.98,
    beta2: float = 0.92,
    beta3: float = 0.99,
    eps: float = 1e-8,
    decay: float = 0.01,
    fixed: Names = (),
) -> Unconstrained:
    """Return Adan."""
    return _from(optimizers.Adan(), optimizers.Adan.Phi(eta, beta1, beta2, beta3, eps, decay), fixed)


def _from(rule: Any, start: Any, fixed: Names = ()) -> Unconstrained:
    return Unconstrained(rule, rule.check_phi(start, "config [optimizer]"), fixed)


KINDS: dict[str, Callable[..., Unconstrained]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adam": adam,
    "sgdw": sgdw,
    "adamw": adamw,
    "nadam": nadam,
    "lion": lion,
    "adan": adan,
}
