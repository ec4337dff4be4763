"""Update rules with meta-parameters, one file each."""

from metagrad.optimizers.adagrad import Adagrad
from metagrad.optimizers.adam import Adam
from metagrad.optimizers.gradient_descent import GradientDescent
from metagrad.optimizers.lstm import CoordinatewiseLSTM
from metagrad.optimizers.mlp31 import MLP31
from metagrad.optimizers.momentum import Momentum
from metagrad.optimizers.nesterov import Nesterov
from metagrad.optimizers.rmsprop import RMSprop
from metagrad.optimizers.scheduled import Scheduled
from metagrad.optimizers.truncated import Truncated
from metagrad.optimizers.unconstrained import Unconstrained

__all__ = [
    "MLP31",
    "Adagrad",
    "Adam",
    "CoordinatewiseLSTM",
    "GradientDescent",
    "Momentum",
    "Nesterov",
    "RMSprop",
    "Scheduled",
    "Truncated",
    "Unconstrained",
]
