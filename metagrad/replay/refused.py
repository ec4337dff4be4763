"""What looks at numbers, or writes over them, and is refused while a program is recorded: why, by the method."""

from __future__ import annotations

from typing import Any

LOOKS = {
    "__float__": "it looks at a number: float(x), or a function of `math`",
    "__int__": "it looks at a number: int(x)",
    "__index__": "it looks at a number: range(x), or X[i] (let the sampler return X[i])",
    "__complex__": "it looks at a number: complex(x)",
    "__round__": "it looks at a number: round(x)",
    "__array__": "np.asarray(x), or X[i], takes the numbers out (let the sampler return X[i])",
    "__contains__": "it branches on numbers: `x in y`",
    "item": "it looks at a number: x.item()",
    "tolist": "it looks at numbers: x.tolist()",
    "fill": "x.fill() writes in place",
    "sort": "x.sort() writes in place",
}

# Functions of which the shape of a result depends on an argument's numbers: its place, and its name.
_COUNTS: dict[str, tuple[int, str]] = {
    "delete": (1, "obj"),
    "insert": (1, "obj"),
    "repeat": (1, "repeats"),
    "tile": (1, "reps"),
    "pad": (1, "pad_width"),
    "resize": (1, "new_shape"),
    "diff": (1, "n"),
    "vander": (1, "N"),
    "linspace": (2, "num"),
    "diag": (1, "k"),
    "diagonal": (1, "offset"),
    "rot90": (1, "k"),
    "reshape": (1, "shape"),
    **{f"{kind}split": (1, "indices_or_sections") for kind in ("", "array_", "h", "v", "d")},
    **{f"{kind}fft": (1, "n") for kind in ("", "i", "r", "ir", "h", "ih")},
    **{f"{kind}fft{d}": (1, "s") for kind in ("", "i", "r", "ir") for d in ("2", "n")},
}


def refuse_counts(graph: Any, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any], recorded: type) -> None:
    """Refuse a call where a count, an index or an axis is recorded, on which the shape of the result depends."""
    name = called if isinstance(called, str) else getattr(called, "__name__", "")
    place, keyword = _COUNTS.get(name, (len(args), ""))
    found = [*args[place : place + 1], kwargs.get(keyword), kwargs.get("axis"), kwargs.get("axes")]
    if any(_holds(x, recorded) for x in found):
        graph.refuse("a count, an index or an axis on which a shape depends (let the sampler return what it gives)")


def _holds(x: Any, kind: type) -> bool:
    return type(x) is kind or (isinstance(x, tuple | list) and any(_holds(item, kind) for item in x))
