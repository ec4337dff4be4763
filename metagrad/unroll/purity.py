"""Whether a step that is taken again gives what it gave before: if it does not, there is no right meta-gradient.

A backward sweep takes every step twice: forwards, where its result is kept, and again to differentiate it. The two
results of code that is a function of its arguments have the same bits. A counter on an object, a cache, a stream of
random numbers of one's own make them differ: the derivative would be that of another run than the value. Looked at on
the host; on a device it would wait for every step.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from metagrad import ad, parts
from metagrad.errors import bad_value
from metagrad.protocols import Tree
from metagrad.replay import ReplayStep, Traced
from metagrad.system import Training
from metagrad.unroll.carry import Carry
from metagrad.unroll.rescale import shift
from metagrad.unroll.steps import StepKernel, TapeStep
from metagrad.xp import float_info, is_array

_FEW_BYTES = 1 << 14  # arrays up to here are compared as bytes, which is faster than entry by entry
_ROUNDINGS = 64  # the tape may round a mean, say, in another order than NumPy does
_MOST_RETAKEN = 16  # steps that are taken a third time, where the second result was another one
_EXPECTED = "a function of its arguments: the same result whenever it is asked for the same"
_REMEDY = (
    "Keep what changes in the state, take the time from f.t, and draw from the sample or from "
    "metagrad.xp.rng(seed, name, f.t). Counters, caches and random streams on an object or in a closure, and arrays "
    "that are written into after they were returned, make the gradient that of another run. "
    "mg.check(task, rule, phi) looks closer."
)


class Purity:
    """Compares steps of a system that were taken again with those that were kept."""

    def __init__(self, unroll: Any, kernel: StepKernel) -> None:
        """Bind the unroll, and what takes its steps; times are those of the unroll, which begins later in the run.

        Kernels of ours are what they are; what is moved to neighbouring floats between steps, or run on scaled numbers,
        is the run of code that has been looked at.
        """
        self._system, self._offset, self._retaken = unroll.system, unroll.offset, 0
        is_first = not unroll.wide and not unroll.options.copy
        is_of_code = isinstance(kernel, TapeStep | ReplayStep)
        self._kernel: Any = kernel if is_of_code and unroll.xp is np and is_first else None

    def compare(self, t: int, phi: Tree, before: Carry, after: Carry) -> None:
        """Raise ValueError unless step t, differentiated just now from `before`, gave what was kept, `after`."""
        if self._kernel is None or self._kernel.taken is None:
            return
        taken, self._kernel.taken, kept = self._kernel.taken, None, (after.w, after.state)
        if before.exponent is not after.exponent:  # the state was rescaled after the step, by powers of two
            taken = shift(taken, before.exponent - after.exponent)
        if _same_pair(taken, kept):
            return
        was = before.w, before.state
        apart = difference(taken, kept, was)
        if apart <= 1 or (t > 1 and self._retaken >= _MOST_RETAKEN):
            return
        self._retaken += 1
        w, state = self._system.step(self._offset + t, phi, before.w, before.state)
        again = shift((w, state), before.exponent - after.exponent)
        if difference(again, kept, was) > 1:
            self._refuse(t, phi, before)
        # A step that lost all digits may differ that much by rounding; the first ones have not.
        if t <= 1 and apart * _ROUNDINGS * _eps(before.w) > _eps(before.w) ** 0.25:
            _refuse_traced(f"{type(self._system.rule).__name__}.step", self._offset + t)

    def _refuse(self, t: int, phi: Tree, before: Carry) -> NoReturn:
        """Raise for step t, in the name of the part that is not what it should be."""
        system, time = self._system, self._offset + t
        task, sample = system.given(phi), system.sample(time)
        where = f"{type(system.rule).__name__}.step"
        if not same(*(parts.gradient(task, before.w, sample) for _ in range(2))):
            where = f"{type(task).__name__}.loss"
        check_sample(system, time)
        refuse(where, f"another result for step {time} when it was taken again from the same state")


def check_sample(system: Training, time: int) -> None:
    """Raise ValueError where the sample of a time, asked for twice, is not the same."""
    if not same(system.sample(time), system.sample(time)):
        refuse(f"{type(system.task).__name__}.sample", f"another sample for step {time} when it was drawn again")


def refuse(where: str, came: str) -> NoReturn:
    """Raise the ValueError about code that is no function of its arguments."""
    bad_value(where, "what it returns", came, _EXPECTED, _REMEDY)


def refuse_kept(rule: Any, *found: Tree) -> None:
    """Raise ValueError where what a plain step or a derivative returned is traced: a rule kept it from another one."""
    if not {ad.Var, Traced}.isdisjoint(map(type, found)):
        refuse(f"{type(rule).__name__}.step", "a traced value, kept from when it was differentiated before")


def _refuse_traced(where: str, time: int) -> NoReturn:
    came = f"another result for step {time} when it was differentiated than in plain arrays"
    remedy = (
        "An array with two names that is changed by `x *= y` under one of them is the usual cause: write x = x * y. "
        "mg.check(task, rule, phi) looks closer."
    )
    bad_value(where, "what it returns", came, "the same result both times", remedy)


def _same_pair(a: tuple[Tree, Tree], b: tuple[Tree, Tree]) -> bool:
    """Whether two pairs (w, state) have the same bits: `same`, in less time for the commonest kinds."""
    for x, y in zip(a, b, strict=True):
        if type(x) is np.ndarray and type(y) is np.ndarray and x.nbytes <= _FEW_BYTES:
            if x.tobytes() != y.tobytes() and not same(x, y):
                return False
        elif (x != () or y != ()) if type(x) is tuple and type(y) is tuple and not (x and y) else not same(x, y):
            return False
    return True


def same(a: Tree, b: Tree) -> bool:
    """Whether two trees of arrays and numbers have the same bits; NaN is NaN."""
    xs, ys = ad.leaves(a), ad.leaves(b)
    return len(xs) == len(ys) and all(map(_same_leaf, xs, ys))


def _same_leaf(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if type(x) is np.ndarray and type(y) is np.ndarray and x.nbytes <= _FEW_BYTES:
        return x.tobytes() == y.tobytes()
    if is_array(x) or isinstance(x, np.generic | float):
        if np.shape(x) != np.shape(y):
            return False
        return bool(((x == y) | (np.not_equal(x, x) & np.not_equal(y, y))).all())
    return bool(isinstance(x, int) and x == y) or type(x) is type(y)  # what is no number has no bits to compare


def difference(a: Tree, b: Tree, scale: Tree) -> float:
    """Return the largest difference of two trees, in units of some roundings of what is largest in b and `scale`.

    Task by task and leaf by leaf; inf where one has NaN or inf and the other another number, or a traced value.
    """
    xs, ys, zs = ad.leaves(a), ad.leaves(b), ad.leaves(scale)
    if not len(xs) == len(ys) == len(zs):
        return np.inf
    return max(map(_of_leaf, xs, ys, zs), default=0.0)


def _of_leaf(x: Any, y: Any, z: Any) -> float:
    if type(x) is ad.Var or type(y) is ad.Var:  # it was kept from a differentiation before
        return np.inf
    x, y, z = np.asarray(x), np.asarray(y), np.asarray(z)
    if x.shape != y.shape or x.dtype != y.dtype:
        return np.inf
    if x.dtype.kind != "f":
        return 0.0 if np.array_equal(x, y) else np.inf
    unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if not unequal.any():
        return 0.0
    unit = _ROUNDINGS * float_info(x.dtype).eps * np.maximum(_largest(y), _largest(z) if z.shape == y.shape else 0.0)
    apart = _largest(np.where(unequal, x.astype(np.float64) - y, 0.0))
    relative = np.divide(apart, unit, out=np.full_like(apart, np.inf), where=(unit > 0) & np.isfinite(unit))
    return float(np.max(np.where((apart > 0) | np.isnan(apart), relative, 0.0)))


def _largest(leaf: Any) -> Any:
    """Return the largest entry of each task, in float64."""
    rows = leaf.reshape(len(leaf), -1) if leaf.ndim else leaf.reshape(1, 1)
    return np.max(np.abs(rows.astype(np.float64)), axis=1, initial=0.0)


def _eps(w: Tree) -> float:
    return max(float_info(leaf.dtype).eps for leaf in ad.leaves(w) if leaf.dtype.kind == "f")
