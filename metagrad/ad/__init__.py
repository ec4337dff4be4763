"""Differentiation of NumPy-style code to any order: values and gradients of trees of arrays.

    out, pullback = vjp(f, *args)      v -> J'v
    grad(f), value_and_grad(f)         gradient of the sum of f's entries
    jvp(f, args, tangents)             u -> Ju
    hvp(f, w, v)                       Hessian times vector

f is written with NumPy's functions and operators, and runs on NumPy or CuPy arrays. See `tape` for how it works,
`strong` for where(x > 0, sqrt(x), 0) at 0, `constants` for the data around x, and `blame` for where a NaN comes from.
What is returned may be written into: it shares no memory with what was given.
"""

from metagrad.ad.api import Pullback, grad, hvp, jvp, recorded, stop_gradient, value_and_grad, vjp
from metagrad.ad.check import check_gradients
from metagrad.ad.functions.elementwise import relu, sigmoid
from metagrad.ad.functions.reductions import log_softmax, logsumexp, softmax
from metagrad.ad.hold import are_gradients_held, gradients_held
from metagrad.ad.safe import safe_norm, safe_sqrt
from metagrad.ad.strong import are_zeros_strong, strong_zeros
from metagrad.ad.table import register
from metagrad.ad.tape import Var, primitive
from metagrad.ad.tree import add, is_branch, leaves, paths, tree_map, unflatten

__all__ = [
    "Pullback",
    "Var",
    "add",
    "are_gradients_held",
    "are_zeros_strong",
    "check_gradients",
    "grad",
    "gradients_held",
    "hvp",
    "is_branch",
    "jvp",
    "leaves",
    "log_softmax",
    "logsumexp",
    "paths",
    "primitive",
    "recorded",
    "register",
    "relu",
    "safe_norm",
    "safe_sqrt",
    "sigmoid",
    "softmax",
    "stop_gradient",
    "strong_zeros",
    "tree_map",
    "unflatten",
    "value_and_grad",
    "vjp",
]
