"""Matrix products that are counted wherever they are done: in a loss, in its derivative, in a derivative of that."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad


class Counted:
    """The product a b of stacks of matrices, differentiable to any order; `flops`: two for each multiplication made.

    What trains a model goes through its samples in such products, and in nothing else that grows with their number
    times that of the parameters. So runs, derivatives and linear systems are told in one unit.

    >>> counted = Counted()
    >>> slope = ad.grad(lambda w: np.sum(counted.product(w, np.ones((1, 3, 5))) ** 2))(np.ones((1, 1, 3)))
    >>> counted.flops  # the product, and that of its pullback
    60
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self.flops = 0
        self.product = ad.primitive("counted product", self._product, (self._to_left, self._to_right))

    def _product(self, a: Any, b: Any) -> Any:
        self.flops += 2 * a.size * b.shape[-1]
        return np.matmul(a, b)

    def _to_left(self, g: Any, out: Any, a: Any, b: Any) -> Any:
        return self.product(g, np.swapaxes(b, -1, -2))

    def _to_right(self, g: Any, out: Any, a: Any, b: Any) -> Any:
        return self.product(np.swapaxes(a, -1, -2), g)
