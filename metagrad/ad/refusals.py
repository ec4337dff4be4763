"""What a traced value refuses to become, and what to do instead."""

from __future__ import annotations

import sys
from typing import NoReturn

_REMEDIES = {
    "numpy.ma": (
        "Fill a masked array m, m.filled(0.0), and give its entries the weight (~np.ma.getmaskarray(m)).astype(float)."
    ),
    "pandas": "Take np.asarray(s) of the Series or DataFrame s.",
    "scipy.sparse": "Take S.toarray(), or bring the product as a metagrad.ad.primitive with its VJP.",
}


def _library_that_asks() -> str | None:
    """Return which library of those whose arrays are not NumPy's is at work."""
    frame = sys._getframe()
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("metagrad"):
            return next((known for known in _REMEDIES if name == known or name.startswith(f"{known}.")), None)
    return None


def refuse(what: str, remedy: str) -> NoReturn:
    """Raise the TypeError that says what cannot be done while x is traced, and what to do."""
    raise TypeError(f"{what} is not possible while x is traced: the derivative would be lost. {remedy}")


def refuse_array() -> NoReturn:
    """Refuse to make a plain array of x; the remedy depends on who asks for one."""
    asking = _library_that_asks()
    if asking is not None:
        refuse(f"what {asking} makes of x", _REMEDIES[asking])
    remedy = (
        "Leave it as it is, as NumPy's functions take it, join several by np.stack([x, y]) or np.concatenate, also "
        "in place of z[index] = x, or use metagrad.ad.stop_gradient(x) where no derivative is meant."
    )
    refuse("np.asarray(x), z[index] = x, or np.array([x, y]),", remedy)
