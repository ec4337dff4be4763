"""Update rules with meta-parameters, one file each: designed by hand, learned, and wrappers around other rules."""

from metagrad.optimizers._hyper import beside
from metagrad.optimizers.hand.adagrad import Adagrad
from metagrad.optimizers.hand.adam import Adam
from metagrad.optimizers.hand.gradient_descent import GradientDescent
from metagrad.optimizers.hand.momentum import Momentum
from metagrad.optimizers.hand.nesterov import Nesterov
from metagrad.optimizers.hand.rmsprop import RMSprop
from metagrad.optimizers.learned.lstm import CoordinatewiseLSTM
from metagrad.optimizers.learned.mlp31 import MLP31
from metagrad.optimizers.wrappers.scheduled import Scheduled
from metagrad.optimizers.wrappers.stopped import Stopped
from metagrad.optimizers.wrappers.unconstrained import Unconstrained

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
    "Stopped",
    "Unconstrained",
    "beside",
]
