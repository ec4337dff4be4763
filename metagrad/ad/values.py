"""What a traced value is beside its derivative: how it is printed and copied, and what it tells of its array."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np

from metagrad.ad.functions import elementwise as e
from metagrad.ad.functions import shapes as s
from metagrad.ad.tape import Var, value_of, zeros_like
from metagrad.xp import to_host


def iterate(x: Var) -> Any:
    """Yield the entries along the first axis; TypeError at once where there is none."""
    if not x.shape:
        raise TypeError("iteration over a traced value with no axes; np.atleast_1d(x) or x[None] gives it one")
    return (s.getitem(x, i) for i in range(len(x)))


def _format(x: Var, spec: str) -> str:
    """Format the plain value, for what is printed: arrays take no specification, as NumPy's do not."""
    return format(x.value if type(x.value) is float else to_host(x.value), spec) if spec else str(x)


def _to_device(x: Var, device: Any, **kwargs: Any) -> Any:
    x.value.to_device(device, **kwargs)  # raises where it is another one
    return x


def _absent(x: Var, name: str) -> Any:
    """Say that a traced value lacks an attribute, and which was meant."""
    known = vars(Var).get(name)
    if known is not None:  # a property that raised AttributeError, which would be hidden
        return known.fget(x)
    raise AttributeError(_absence(name), name=name, obj=x)


@cache
def _absence(name: str) -> str:
    if name.startswith("_"):
        return name
    said = f"x.{name}: x is traced by metagrad.ad, and has no attribute {name!r}"
    if hasattr(np.ndarray, name):
        return f"{said}, which arrays have. Write it with NumPy's functions, or use metagrad.ad.stop_gradient(x)."
    close = get_close_matches(name, [known for known in dir(Var) if not known.startswith("_")], n=1)
    return f"{said}; arrays have none either." + (f" Did you mean {close[0]!r}?" if close else "")


VALUES: dict[str, Any] = {
    "__contains__": lambda x, item: value_of(item) in x.value,
    "__format__": _format,
    "__copy__": e.copy,
    "__deepcopy__": lambda x, memo: e.copy(x),
    "__getattr__": _absent,
    "real": property(lambda x: x),
    "imag": property(lambda x: zeros_like(x.value)),
    "conj": lambda x: x,
    "conjugate": lambda x: x,
    "device": property(lambda x: getattr(x.value, "device", "cpu")),
    "to_device": _to_device,
}
