"""A task from nothing but its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.xp import Array, is_array


@dataclass(frozen=True)
class FunctionTask:
    """The tasks whose losses `function` returns: `function(w)`, or `function(w, sample)` where `sampler` is given.

    `function` is ordinary NumPy-style code from w (B, d) to the losses (B,), one a task; the gradient and all higher
    derivatives come from the tape. `w0` (B, d) is where every task starts. `sampler(rng, t)` draws all the
    randomness of step t from the generator it is given. `degree` is the p with f(s w) = s**p f(w), where there is
    one: it lets the engine rescale the state exactly.

    >>> task = FunctionTask(lambda w: np.sum(np.cosh(w), axis=-1), w0=np.ones((2, 3)))
    >>> task.loss(task.init(None), None).shape
    (2,)
    """

    function: Callable[..., Array]
    w0: Array
    sampler: Callable[[np.random.Generator, int], Any] | None = None
    degree: int | None = None

    def __post_init__(self) -> None:
        """Check the start and what the loss returns there."""
        if not is_array(self.w0) or self.w0.dtype.kind != "f" or self.w0.ndim < 2:
            came = f"an array of {self.w0.dtype}, shape {self.w0.shape}" if is_array(self.w0) else repr(self.w0)
            bad_type("FunctionTask", "w0", came, "a float array (B, ...) with the task axis first", "Use w0[None].")
        if not callable(self.function):
            bad_type("FunctionTask", "function", f"a {type(self.function).__name__}", "a function of w")
        if self.sampler is None:
            loss = self.function(self.w0)
            if getattr(loss, "shape", None) != (self.w0.shape[0],):
                came = f"one that returns shape {getattr(loss, 'shape', ())} at w0 of shape {self.w0.shape}"
                remedy = "Sum over the last axes only (axis=-1), and keep the task axis."
                bad_value("FunctionTask", "function", came, f"one loss a task, shape ({self.w0.shape[0]},)", remedy)

    def init(self, rng: np.random.Generator | None) -> Tree:
        """Return w0."""
        return self.w0

    def sample(self, rng: np.random.Generator, t: int) -> Any:
        """Return the randomness of step t."""
        return None if self.sampler is None else self.sampler(rng, t)

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the losses, shape (B,)."""
        return self.function(w) if self.sampler is None else self.function(w, sample)
