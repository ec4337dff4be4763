"""metagrad: meta-gradients of unrolled optimizers, right where floating point overflows, checked against theory."""

from metagrad.api import meta_gradient, value
from metagrad.errors import RangeError, Status
from metagrad.estimators import ClosedForm, Forward, Reverse, Value, Windows
from metagrad.objectives import Final, LogExcess, LogFinal, Mean, MeanLog, WeightedSum
from metagrad.optimizers import (
    MLP31,
    Adagrad,
    Adam,
    CoordinatewiseLSTM,
    GradientDescent,
    Momentum,
    Nesterov,
    RMSprop,
    Scheduled,
    Stopped,
    Unconstrained,
    beside,
)
from metagrad.protocols import Estimate, Joint, Position
from metagrad.scaled import Scaled
from metagrad.tasks import (
    MLP,
    DiagonalQuadratic,
    FunctionTask,
    LeastSquares,
    MLPClassifier,
    Quadratic,
    image_classifiers,
    random_least_squares,
    random_quadratics,
    random_regressions,
    split_task,
)
from metagrad.training import Descent, MetaRun, MetaTrainer, Through, load_trained
from metagrad.unroll.rollout import rollout
from metagrad.views import FixedGradient

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "MLP31",
    "Adagrad",
    "Adam",
    "ClosedForm",
    "CoordinatewiseLSTM",
    "Descent",
    "DiagonalQuadratic",
    "Estimate",
    "Final",
    "FixedGradient",
    "Forward",
    "FunctionTask",
    "GradientDescent",
    "Joint",
    "LeastSquares",
    "LogExcess",
    "LogFinal",
    "MLPClassifier",
    "Mean",
    "MeanLog",
    "MetaRun",
    "MetaTrainer",
    "Momentum",
    "Nesterov",
    "Position",
    "Quadratic",
    "RMSprop",
    "RangeError",
    "Reverse",
    "Scaled",
    "Scheduled",
    "Status",
    "Stopped",
    "Through",
    "Unconstrained",
    "Value",
    "WeightedSum",
    "Windows",
    "beside",
    "image_classifiers",
    "load_trained",
    "meta_gradient",
    "random_least_squares",
    "random_quadratics",
    "random_regressions",
    "rollout",
    "split_task",
    "value",
]
