"""What looks at numbers, or writes over them, and is refused while a program is recorded: why, by the method."""

from __future__ import annotations

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
