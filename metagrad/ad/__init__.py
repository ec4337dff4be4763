"""Differentiation of ordinary NumPy-style code, to any order, over NumPy or CuPy arrays.

`tape` remembers, `ops` is the table of operations and rules, `composed` builds on it, `dispatch` teaches it NumPy's
names, `api` has the derivatives, `tree` the trees, `check` the checks.
"""

from metagrad.ad.api import grad, hvp, jvp, value_and_grad, vjp
from metagrad.ad.check import check_gradients
from metagrad.ad.composed import log_softmax, logsumexp, stop_gradient
from metagrad.ad.dispatch import install
from metagrad.ad.ops import relu, sigmoid
from metagrad.ad.tape import Var
from metagrad.ad.tree import leaves, tree_map, unflatten

install()

__all__ = [
    "Var",
    "check_gradients",
    "grad",
    "hvp",
    "jvp",
    "leaves",
    "log_softmax",
    "logsumexp",
    "relu",
    "sigmoid",
    "stop_gradient",
    "tree_map",
    "unflatten",
    "value_and_grad",
    "vjp",
]
