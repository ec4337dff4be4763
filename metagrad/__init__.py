"""metagrad: meta-gradients of unrolled optimizers, right where floating point overflows, checked against theory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy  # noqa: F401 -- from here, not from deep inside: that takes 6 ms more

from metagrad.ad import safe_norm, safe_sqrt
from metagrad.api import meta_gradient, value
from metagrad.checkup import check
from metagrad.errors import RangeError, Status
from metagrad.estimators import ClosedForm, Forward, Implicit, Reptile, Reverse, Value, Windows
from metagrad.objectives import Final, LogExcess, LogFinal, Mean, MeanLog, WeightedSum
from metagrad.protocols import Digits, Estimate, Joint, Position
from metagrad.scaled import Scaled
from metagrad.tasks import (
    MLP,
    DiagonalQuadratic,
    FunctionTask,
    LearnedStart,
    LeastSquares,
    MLPClassifier,
    Quadratic,
    image_classifiers,
    random_least_squares,
    random_quadratics,
    random_regressions,
    split_task,
)
from metagrad.unroll.rollout import rollout
from metagrad.views import FixedGradient

if TYPE_CHECKING:
    from metagrad.diagnosis import Diagnosis, diagnose
    from metagrad.optimizers import (
        MLP31,
        SGDW,
        Adagrad,
        Adam,
        AdamW,
        Adan,
        Chain,
        ClipByNorm,
        ClipByValue,
        CoordinatewiseLSTM,
        Cosine,
        Exponential,
        Following,
        GradientDescent,
        GradientNoise,
        Grouped,
        Lion,
        Masked,
        Momentum,
        NAdam,
        Nesterov,
        Polynomial,
        RMSprop,
        Scheduled,
        Stopped,
        Unconstrained,
        Until,
        WarmUp,
        WeightDecay,
        beside,
    )
    from metagrad.stepper import Stepper
    from metagrad.training import Descent, MetaRun, MetaTrainer, Through, load_trained, save_trained

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "MLP31",
    "SGDW",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adan",
    "Chain",
    "ClipByNorm",
    "ClipByValue",
    "ClosedForm",
    "CoordinatewiseLSTM",
    "Cosine",
    "Descent",
    "Diagnosis",
    "DiagonalQuadratic",
    "Digits",
    "Estimate",
    "Exponential",
    "Final",
    "FixedGradient",
    "Following",
    "Forward",
    "FunctionTask",
    "GradientDescent",
    "GradientNoise",
    "Grouped",
    "Implicit",
    "Joint",
    "LearnedStart",
    "LeastSquares",
    "Lion",
    "LogExcess",
    "LogFinal",
    "MLPClassifier",
    "Masked",
    "Mean",
    "MeanLog",
    "MetaRun",
    "MetaTrainer",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Polynomial",
    "Position",
    "Quadratic",
    "RMSprop",
    "RangeError",
    "Reptile",
    "Reverse",
    "Scaled",
    "Scheduled",
    "Status",
    "Stepper",
    "Stopped",
    "Through",
    "Unconstrained",
    "Until",
    "Value",
    "WarmUp",
    "WeightDecay",
    "WeightedSum",
    "Windows",
    "beside",
    "check",
    "diagnose",
    "image_classifiers",
    "load_trained",
    "meta_gradient",
    "random_least_squares",
    "random_quadratics",
    "random_regressions",
    "rollout",
    "safe_norm",
    "safe_sqrt",
    "save_trained",
    "split_task",
    "value",
]

# Half of the time of the import: what meets no rule of ours need not wait for them.
_LATER = ("optimizers", "diagnosis", "training", "stepper")
_APART = ("testing",)  # whose names are not among those of the package


def __getattr__(name: str) -> Any:
    """Return a name of the rules, the diagnosis or the loops, which load when the first of them is asked for."""
    if name in (*_LATER, *_APART):
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        for later in _LATER:
            module = import_module(f"{__name__}.{later}")
            if name in module.__all__:
                found = globals()[name] = getattr(module, name)
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names of the module, loaded or not."""
    return sorted({*globals(), *__all__, *_LATER, *_APART})
