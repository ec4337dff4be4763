"""Update rules with meta-parameters, one file each: designed by hand, learned, and wrappers around other rules.

`transforms` and `schedules` are what the wrappers `Chain` and `Following` put around a rule.
"""

from metagrad.optimizers._hyper import beside
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
