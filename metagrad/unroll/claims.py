"""What a user's part declares, held against what it computes: its own gradient, its degree, and homogeneity.

    gradient      task.gradient(w) = d loss/d w
    degree        loss(s w) = s**p loss(w)
    homogeneous   step(phi, s state, s w) = s step(phi, state, w), on a task of degree 2

A wrong one gives a wrong meta-gradient without a sign. So each is looked at when a part is met for the first time, at
the cost of a step or two; `metagrad.check` looks at more places. Scaling is by powers of two, which is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from metagrad import ad, parts
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Task, Tree
from metagrad.scaled import ldexp
from metagrad.system import Training
from metagrad.unroll.purity import difference
from metagrad.unroll.rescale import exponent_limit, is_float_array, magnitude, shift
from metagrad.xp import Array, float_info, is_array, namespace, rng, to_host

_SHIFT = 20  # powers of two, where the dtype has room for as many
_MET: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()  # the classes and functions that were looked at


class Wrong(NamedTuple):
    """A declaration that does not hold: whose, what it says, what came, what was expected, and what to do."""

    where: str
    member: str
    came: str
    expected: str
    remedy: str


def check_task(task: Task, w: Tree, draw: Callable[[], Any]) -> None:
    """Raise ValueError where a task's own gradient or its degree is not that of its loss; looked at once a part.

    `draw()` returns a sample of the task.
    """
    met = _met(task)
    if met is None or (claim := f"gradient, degree {parts.degree(task)}") in met:
        return
    sample = draw()
    with np.errstate(all="ignore"):
        for wrong in (wrong_gradient(task, w, sample), wrong_degree(task, w, sample)):
            if wrong is not None:
                bad_value(*wrong)
    met.add(claim)


def check_rule(system: Training, t: int, phi: Tree, w: Tree, state: Tree) -> None:
    """Raise ValueError where the step of a rule that declares it is not homogeneous; looked at once a part."""
    met = _met(system.rule)
    if met is None or "homogeneous" in met:
        return
    with np.errstate(all="ignore"):
        wrong = wrong_homogeneity(system, t, phi, w, state)
        if wrong is not None:
            bad_value(*wrong)
    met.add("homogeneous")


def _met(part: Any) -> set[str] | None:
    """Return which claims of this part hold, as far as was looked; None where it holds no code of a user's."""
    foreign = parts.foreign(part)
    if foreign is None:
        return None
    try:
        # A formula belongs to a class, so that fresh tasks of one need no new look; a loss may be another each time.
        is_part = hasattr(foreign, "init")
        return _MET.setdefault(type(foreign) if is_part else foreign, set())
    except TypeError:  # what takes no weak reference is looked at every time
        return set()


def wrong_gradient(task: Task, w: Tree, sample: Any) -> Wrong | None:
    """Return how the task's own gradient differs from that of its loss: at w, and at a place near it."""
    own = parts.known_gradient(task, w, sample)
    if own is None:
        return None
    where = type(task).__name__
    if ad.paths(own) != ad.paths(w) or [np.shape(x) for x in ad.leaves(own)] != [np.shape(x) for x in ad.leaves(w)]:
        came = f"of shapes {[np.shape(x) for x in ad.leaves(own)]}"
        return Wrong(where, "gradient", came, f"those of w, {[x.shape for x in ad.leaves(w)]}", _MEND)
    first = _gradients_apart(task, w, sample)
    near = first and _gradients_apart(task, beside(w), sample)  # a kink, or nothing but rounding, is only here
    if not first or not near:
        return None
    path, entry, expected = first
    return Wrong(where, "gradient", f"{entry:.7g} at w{path}", f"{expected:.7g}, the derivative of its loss", _MEND)


_MEND = "Mend it, or leave `gradient` out: then the tape differentiates the loss."


def _gradients_apart(task: Task, w: Tree, sample: Any) -> tuple[str, float, float] | None:
    """Return (place, the task's own entry, the tape's) where the two differ most, if they do by more than rounding."""
    own = parts.known_gradient(task, w, sample)
    try:
        tape = ad.grad(lambda u: parts.checked_loss(task, u, sample))(w)
    except Exception:  # a loss that the tape does not know: there is nothing to hold the own gradient against
        return None
    worst: tuple[float, str, float, float] = (0.0, "", 0.0, 0.0)
    top = to_host(magnitude(tape)).astype(np.float64)
    for path, x, y in zip(ad.paths(w), ad.leaves(own), ad.leaves(tape), strict=True):
        a, b = (to_host(v).astype(np.float64).reshape(len(top), -1) for v in (x, y))
        apart = np.where(np.isfinite(a) & np.isfinite(b), np.abs(a - b), 0.0)
        relative = np.divide(apart, top[:, None], out=np.where(apart > 0, np.inf, 0.0), where=top[:, None] > 0)
        at = np.unravel_index(int(np.argmax(relative)), relative.shape)
        if relative[at] > worst[0]:
            place = f"{path}[{', '.join(map(str, np.unravel_index(int(np.argmax(relative)), np.shape(x))))}]"
            worst = (float(relative[at]), place, float(a[at]), float(b[at]))
    return worst[1:] if worst[0] > tolerance(w) else None


def wrong_degree(task: Task, w: Tree, sample: Any, shifts: tuple[int, ...] = ()) -> Wrong | None:
    """Return how the loss scales otherwise than the degree says: from w to w 2**k, for k of `shifts` or near 1."""
    degree = parts.degree(task)
    if degree is None:
        return None
    base = parts.loss(task, w, sample)
    if not to_host(abs(base) > 0).any():
        w = beside(w)
        base = parts.loss(task, w, sample)
    for k in shifts or (_towards_one(w),):
        scaled = to_host(parts.loss(task, _shifted(w, k), sample)).astype(np.float64)
        expected = ldexp(to_host(base).astype(np.float64), degree * k)
        least, most = _normal(base)
        seen = [np.isfinite(x) & (np.abs(x) > least) & (np.abs(x) < most) for x in (scaled, expected, to_host(base))]
        clear = seen[0] & seen[1] & seen[2]
        apart = np.where(clear, np.abs(scaled - expected) / np.where(clear, np.abs(expected), 1.0), 0.0)
        if (apart > tolerance(w)).any():
            b = int(np.argmax(apart))
            ratio = scaled[b] / float(to_host(base)[b])
            came = f"{degree}, while loss(w * 2**{k}) is {ratio:.7g} times loss(w) in task {b}"
            remedy = "Leave it out, and the state is not rescaled; or give the p with loss(s w) = s**p loss(w)."
            return Wrong(type(task).__name__, "degree", came, f"{2.0 ** (degree * k):.7g} times, 2**({k} p)", remedy)
    return None


def wrong_homogeneity(system: Training, t: int, phi: Tree, w: Tree, state: Tree) -> Wrong | None:
    """Return how the step scales otherwise than its arguments, on a task of degree 2, at two scales."""
    rule = system.rule
    if not parts.is_homogeneous(rule) or parts.degree(system.given(phi)) != 2:
        return None
    first = next(leaf for leaf in ad.leaves(w) if is_float_array(leaf))
    most = min(_SHIFT, exponent_limit(first.dtype))
    plain = system.step(t, phi, w, state)
    size = to_host(magnitude((w, plain[0]))).astype(np.float64)
    least, largest = _normal(first)
    for k in (most, -most):
        if not ((size * 2.0**-most > least) & (size * 2.0**most < largest)).all():
            continue
        moved = system.step(t, phi, _shifted(w, k), _shifted(state, k))
        expected = _shifted(plain, k)
        if not all(np.isfinite(to_host(x)).all() for x in ad.leaves((moved, expected)) if is_float_array(x)):
            continue
        moved, expected, scale = (_on_host(tree) for tree in (moved, expected, (_shifted(w, k), _shifted(state, k))))
        if difference(moved, expected, scale) > tolerance(w) / (64 * float_info(first.dtype).eps):
            a, b = _most_apart(moved, expected)
            came = f"True, while scaling w and the state by 2**{k} gives an entry of {a:.7g} after the step"
            remedy = "Set it to False: a clip, a tolerance, a constant beside the gradient are not scaled."
            return Wrong(type(rule).__name__, "homogeneous", came, f"{b:.7g}, the step before times 2**{k}", remedy)
    return None


def beside(w: Tree) -> Tree:
    """Return parameters of the size of w, but others: where w is at a kink, at a minimum or zero, they are not."""
    draw, flat = rng(0, "beside"), []
    for leaf in ad.leaves(w):
        if not is_float_array(leaf):
            flat.append(leaf)
            continue
        top = float(np.nanmax(np.abs(to_host(leaf).astype(np.float64)), initial=0.0))
        size = top if 0 < top < np.inf else 1.0
        moved = draw.uniform(0.25, 1.0, leaf.shape) * draw.choice([-1.0, 1.0], leaf.shape) * size
        flat.append(leaf + namespace(leaf).asarray(moved.astype(leaf.dtype)))
    return ad.unflatten(w, flat)


def tolerance(w: Tree) -> float:
    """Return the relative difference that is more than rounding, in the dtype of w."""
    eps: float = max(float_info(leaf.dtype).eps for leaf in ad.leaves(w) if is_float_array(leaf))
    return 10 * math.sqrt(eps)


def _towards_one(w: Tree) -> int:
    """Return the power of two that brings the largest entry of w near 2: not 0, and not more than there is room for."""
    top = float(to_host(magnitude(w)).max())
    first = next(leaf for leaf in ad.leaves(w) if is_float_array(leaf))
    room = exponent_limit(first.dtype)
    k = 1 - int(np.frexp(top)[1]) if 0 < top < np.inf else 1
    return max(-room, min(room, k)) or 1


def _shifted(tree: Tree, k: int) -> Tree:
    first = next((leaf for leaf in ad.leaves(tree) if is_float_array(leaf)), None)
    if first is None:
        return tree
    return shift(tree, namespace(first).full(first.shape[0], k, dtype=np.int64))


def _normal(like: Array) -> tuple[float, float]:
    info = float_info(like.dtype)
    return 2.0 ** (info.min_exponent + 1), 2.0 ** (info.max_exponent - 1)


def _on_host(tree: Tree) -> Tree:
    return ad.tree_map(lambda leaf: to_host(leaf) if is_float_array(leaf) else leaf, tree)


def _most_apart(a: Tree, b: Tree) -> tuple[float, float]:
    pairs = [(x, y) for x, y in zip(ad.leaves(a), ad.leaves(b), strict=True) if is_float_array(x)]
    found = []
    for x, y in pairs:
        at = np.unravel_index(int(np.argmax(np.abs(x.astype(np.float64) - y))), x.shape)
        found.append((float(x[at]), float(y[at])))
    return max(found, key=lambda pair: abs(pair[0] - pair[1]))


def check_state(rule: Any, state: Tree, member: str, batch: int) -> None:
    """Raise where a float of the state has no task axis: an adjoint of it would belong to no task."""
    where = f"{type(rule).__name__}.{member}"
    for path, leaf in zip(ad.paths(state), ad.leaves(state), strict=True):
        if not (is_array(leaf) or isinstance(leaf, int | float | np.generic)):
            remedy = "Keep settings on the rule; what changes from step to step is arrays and counters."
            came = f"a {type(leaf).__name__}"
            bad_type(where, f"the state{path}", came, "arrays, numbers, None, and trees of them", remedy)
        is_number = isinstance(leaf, float) or getattr(getattr(leaf, "dtype", None), "kind", "") == "f"
        if is_number and np.shape(leaf)[:1] != (batch,):
            expected = f"({batch}, ...), the task axis first"
            remedy = "Write np.zeros_like(w) + x, say; counters are integers, and the time is f.t."
            bad_value(where, f"the state{path}", f"of shape {np.shape(leaf)}", expected, remedy)


def _are_arrays_alike(before: tuple[Tree, Tree], after: tuple[Tree, Tree]) -> bool:
    """Whether w is one array before and after, of one kind, and there is no state: the usual case, seen at once."""
    (was, held), (now, next_held) = before, after
    if type(was) is not np.ndarray or type(now) is not np.ndarray or was.shape != now.shape or was.dtype != now.dtype:
        return False
    return type(held) is tuple and type(next_held) is tuple and not held and not next_held


def check_step(rule: Any, before: tuple[Tree, Tree], after: tuple[Tree, Tree], *, batch: int, per_task: bool) -> None:
    """Raise where a step does not return a (w, state) like the one before."""
    if _are_arrays_alike(before, after):
        return
    where = f"{type(rule).__name__}.step"
    for name, was, now in zip(("w", "state"), before, after, strict=True):
        if ad.paths(was) != ad.paths(now):
            came, expected = f"a tree with {ad.paths(now)}", f"one like that before, {ad.paths(was)}"
            bad_value(where, f"the next {name}", came, expected)
    check_state(rule, after[1], "step", batch)
    shapes, moved = ([x.shape for x in ad.leaves(w) if hasattr(x, "shape")] for w in (before[0], after[0]))
    if shapes != moved:
        remedy = "With per_task=True use metagrad.beside(phi, leaf) where arrays of w differ in their axes."
        bad_value(where, "the next w", f"of shapes {moved}", f"those of w, {shapes}", remedy if per_task else "")
    for path, was, now in zip(ad.paths(before[0]), ad.leaves(before[0]), ad.leaves(after[0]), strict=True):
        if was.dtype != now.dtype:
            bad_type(where, f"the next w{path}", f"of {now.dtype}", f"the dtype of w, {was.dtype}", "Convert it.")
