"""Update rules with meta-parameters, one file each: designed by hand, learned, and wrappers around other rules.

`transforms` and `schedules` are what the wrappers `Chain` and `Following` put around a rule.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metagrad.optimizers._hyper import beside

if TYPE_CHECKING:
    from metagrad.optimizers.hand.adagrad import Adagrad
    from metagrad.optimizers.hand.adam import Adam
    from metagrad.optimizers.hand.adamw import AdamW
    from metagrad.optimizers.hand.adan import Adan
    from metagrad.optimizers.hand.gradient_descent import GradientDescent
    from metagrad.optimizers.hand.lion import Lion
    from metagrad.optimizers.hand.momentum import Momentum
    from metagrad.optimizers.hand.nadam import NAdam
    from metagrad.optimizers.hand.nesterov import Nesterov
    from metagrad.optimizers.hand.rmsprop import RMSprop
    from metagrad.optimizers.hand.sgdw import SGDW
    from metagrad.optimizers.learned.lstm import CoordinatewiseLSTM
    from metagrad.optimizers.learned.mlp31 import MLP31
    from metagrad.optimizers.schedules.cosine import Cosine
    from metagrad.optimizers.schedules.exponential import Exponential
    from metagrad.optimizers.schedules.polynomial import Polynomial
    from metagrad.optimizers.schedules.warm_up import WarmUp
    from metagrad.optimizers.transforms.clip_by_norm import ClipByNorm
    from metagrad.optimizers.transforms.clip_by_value import ClipByValue
    from metagrad.optimizers.transforms.gradient_noise import GradientNoise
    from metagrad.optimizers.transforms.weight_decay import WeightDecay
    from metagrad.optimizers.wrappers.chain import Chain
    from metagrad.optimizers.wrappers.following import Following
    from metagrad.optimizers.wrappers.grouped import Grouped
    from metagrad.optimizers.wrappers.masked import Masked
    from metagrad.optimizers.wrappers.scheduled import Scheduled
    from metagrad.optimizers.wrappers.stopped import Stopped
    from metagrad.optimizers.wrappers.unconstrained import Unconstrained
    from metagrad.optimizers.wrappers.until import Until

__all__ = [
    "MLP31",
    "SGDW",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adan",
    "Chain",
    "ClipByNorm",
    "ClipByValue",
    "CoordinatewiseLSTM",
    "Cosine",
    "Exponential",
    "Following",
    "GradientDescent",
    "GradientNoise",
    "Grouped",
    "Lion",
    "Masked",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Polynomial",
    "RMSprop",
    "Scheduled",
    "Stopped",
    "Unconstrained",
    "Until",
    "WarmUp",
    "WeightDecay",
    "beside",
]

# Where each rule is found when it is first asked for: to load them all takes as long as the rest of the package.
_PLACES = {
    "Adagrad": "hand.adagrad",
    "Adam": "hand.adam",
    "AdamW": "hand.adamw",
    "Adan": "hand.adan",
    "GradientDescent": "hand.gradient_descent",
    "Lion": "hand.lion",
    "Momentum": "hand.momentum",
    "NAdam": "hand.nadam",
    "Nesterov": "hand.nesterov",
    "RMSprop": "hand.rmsprop",
    "SGDW": "hand.sgdw",
    "CoordinatewiseLSTM": "learned.lstm",
    "MLP31": "learned.mlp31",
    "Cosine": "schedules.cosine",
    "Exponential": "schedules.exponential",
    "Polynomial": "schedules.polynomial",
    "WarmUp": "schedules.warm_up",
    "ClipByNorm": "transforms.clip_by_norm",
    "ClipByValue": "transforms.clip_by_value",
    "GradientNoise": "transforms.gradient_noise",
    "WeightDecay": "transforms.weight_decay",
    "Chain": "wrappers.chain",
    "Following": "wrappers.following",
    "Grouped": "wrappers.grouped",
    "Masked": "wrappers.masked",
    "Scheduled": "wrappers.scheduled",
    "Stopped": "wrappers.stopped",
    "Unconstrained": "wrappers.unconstrained",
    "Until": "wrappers.until",
}


def __getattr__(name: str) -> Any:
    """Return a rule, which loads when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return found


def __dir__() -> list[str]:
    """Return the names of the module, loaded or not."""
    return sorted({*globals(), *__all__})
