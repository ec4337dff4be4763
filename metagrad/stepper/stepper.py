"""The stepper: from parameters and gradients to the next parameters, and the state of the rule between them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Joint, Rule, Tree
from metagrad.stepper import store
from metagrad.stepper.known import WHERE, LoopTask, Seen
from metagrad.stepper.layout import Layout
from metagrad.system import Training
from metagrad.training.trained import Trained
from metagrad.unroll.phi import Shape, prepare
from metagrad.xp import Array, float_info, is_array, move, namespace, to_host

Grads = Tree | Callable[[Tree], Tree]
Loss = Any  # a number, or a function of params that returns one


class Stepper:
    """A rule, learned or designed by hand, in a training loop of one's own: `params = stepper.update(params, grads)`.

    `Stepper(trained)` takes what `load_trained` returns, `Stepper(rule, phi)` any rule with its meta-parameters.
    `steps`: the horizon T that the rule is told, an integer of at least 1; schedules need it. Then update T + 1 is an
    error. `params` and `grads` are trees (dict, list, tuple, NamedTuple, one array) of NumPy or CuPy arrays of any
    shape, (), (d,), (m, n), ..., without a task axis: of one dtype, float16, float32 or float64, in which all is
    computed. Arrays of phi are converted to it once (exact where it is wider); one that is not 0 and would be 0 in it,
    such as eps=1e-8 in float16, is a ValueError. k updates give the bits of k steps of
    `metagrad.rollout` on the same losses with one task.

    The stepper keeps the state of the rule and the time `t`. It writes into no array that it is given, and what it
    returns is the caller's own. An update that raises changes nothing: the loop can leave a step out and go on.
    `save` and `load` keep the state in a file, so that an interrupted loop goes on to the same bits.

    TypeError and ValueError for what is no rule, for meta-parameters that are not the rule's, and for a horizon that a
    schedule has no entries for.

    >>> import numpy as np, metagrad as mg
    >>> stepper = mg.Stepper(mg.Momentum(), mg.Momentum.Phi(0.1, 0.9))
    >>> params = {"W": np.ones((2, 2)), "b": np.zeros(2)}
    >>> for _ in range(50):
    ...     params = stepper.update(params, grads=params)  # the loss is |params|^2 / 2
    >>> params["W"].shape, bool(np.abs(params["W"]).max() < 0.1), stepper.t
    ((2, 2), True, 50)
    """

    def __init__(self, rule: Rule | Trained, phi: Tree = None, *, steps: int | None = None) -> None:
        """Bind the rule and its meta-parameters."""
        where = "Stepper"
        if isinstance(rule, Trained):
            if phi is not None:
                bad_type(where, "phi", "given beside a Trained, which has its own", "one of the two", _HOW)
            bare, phi = rule.optimizer, rule.phi
        else:
            bare = rule
        if isinstance(bare, str):
            bad_type(where, "rule", repr(bare), "a rule or a Trained", f"Write Stepper(load_trained({bare!r})).")
        parts.check_part(where, "rule", bare, Rule)
        if phi is None:
            bad_type(where, "phi", "None", "the meta-parameters of the rule", _HOW)
        if isinstance(phi, Joint):
            remedy = "Write Stepper(rule, phi.rule): those of the task belong to the loss."
            bad_type(where, "phi", "a Joint", "the meta-parameters of the rule alone", remedy)
        self.rule = bare
        self.steps = None if steps is None else checks.count(where, "steps", steps)
        phi = parts.complete_phi(bare, parts.check_phi(bare, phi, where), where)
        self.phi: Tree = ad.tree_map(_own, phi)  # the caller may go on to tune his
        self._check_horizon(where)
        self._t = 0
        self._state: Tree = None
        self._first: list[str] = []  # the paths of the state as `init` makes it
        self._layout: Layout | None = None
        self._system: Training | None = None
        self._phi: Tree = None  # in the dtype of the parameters, where they are

    def _check_horizon(self, where: str) -> None:
        if self.steps is not None:
            parts.check_horizon(self.rule, self.phi, self.steps, where)
        elif parts.entries(self.rule):
            came = f"None, and {type(self.rule).__name__} has meta-parameters for every step of a run"
            bad_type(where, "steps", came, "the horizon", "Write Stepper(rule, phi, steps=T).")

    @property
    def t(self) -> int:
        """How many updates were done."""
        return self._t

    def __repr__(self) -> str:
        """Say what is stepped, and how far it is."""
        horizon = "" if self.steps is None else f" of {self.steps}"
        return f"Stepper({self.rule!r}, {self._t}{horizon} updates)"

    def __copy__(self) -> Stepper:
        """Return a stepper that goes on from here by itself: nothing that the two have in common is ever written."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: Any) -> Stepper:
        """Return the same as a copy."""
        return copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, to pickle a stepper before its first update; after that TypeError."""
        if self._layout is not None:
            came = f"a stepper after {self._t} updates, to be pickled"
            remedy = "Use stepper.save(path), and another Stepper's load(path, params) where it goes on."
            bad_type("Stepper", "self", came, "one before its first update", remedy)
        return self.__dict__

    def update(self, params: Tree, grads: Grads, *, loss: Loss = None) -> Tree:
        """Return the next parameters, new arrays built like `params`.

        `grads`: the gradient of the loss at `params`, of their structure, shapes and dtype; or a function of params
        that returns it, for a rule that asks at other parameters too. `loss`: one finite number, the loss at `params`,
        for rules that ask for it (`Until(of="loss")`); or a function of params that returns it.

        TypeError and ValueError, with the path of the array, for other trees, shapes and dtypes than those of the first
        update, for inf and NaN in `params`, `grads` or `loss`, for a rule that asks for what was not given, and past
        the horizon; ValueError where the new parameters, or the state of the rule, become inf or NaN. The stepper is
        then as it was.
        """
        if self.steps is not None and self._t >= self.steps:
            remedy = "Make a new Stepper with the horizon of the whole run."
            bad_value(WHERE, "t", f"{self._t}", f"at most {self.steps} updates, the horizon", remedy)
        layout, system, phi = self._bound(params)
        w = layout.with_task(params, params, WHERE, "params")
        seen = self._seen(layout, params, w, grads, loss)
        with np.errstate(all="ignore"):  # what overflows is looked at below
            state = system.state(phi, w) if self._layout is None else self._state
            first = ad.paths(state) if self._layout is None else self._first
            moved, after = system.stepped(self._t, system.phi_at(phi, self._t), w, state, seen)
        found = layout.without_task(moved, params, f"{type(self.rule).__name__}.step", "the new w")
        self._check_finite("the new params", layout.paths, ad.leaves(found), ad.leaves(w))
        self._check_finite("its state", ad.paths(after), ad.leaves(after), ad.leaves(state))
        self._layout, self._system, self._phi = layout, system, phi
        self._first, self._state, self._t = first, after, self._t + 1
        return found

    def answer(self, params: Tree) -> Tree:
        """Return the parameters to use at the end of the loop: where the rule has an answer of its own, such as an
        average, that one; else a copy of `params`, those that the last update returned.

        TypeError and ValueError for parameters that `update` would refuse.
        """
        where = "Stepper.answer"
        layout, system, phi = self._bound(params)
        w = layout.with_task(params, params, where, "params")
        if self._layout is not None:
            with np.errstate(all="ignore"):
                _, w = system.measured(system.phi_at(phi, max(0, self._t - 1)), w, self._state)
        return layout.without_task(w, params, where, "the answer")

    def save(self, path: str | Path) -> None:
        """Write the state of the rule and the time; the old file stays until the new one is complete.

        The file has numbers and texts alone, with a checksum; neither the rule nor `params` are in it. ValueError
        where its folder does not exist; TypeError where the state of a rule of one's own has a leaf that is no number
        and no array.
        """
        path = checks.new_file("Stepper.save", "path", path)
        store.save(path, self._t, self._state, self._first, self._owner(), self._layout)

    def load(self, path: str | Path, params: Tree) -> None:
        """Go on from what `save` wrote; `params` are the parameters of that time, which the caller keeps.

        ValueError, which names the file and what differs, where it does not exist, was damaged or edited, or is of
        another rule (by its data and its code, as this version of Python compiles it), other meta-parameters, another
        horizon or other shapes; the stepper is then as it was.
        """
        where = "Stepper.load"
        path = checks.file_path(where, "path", path)
        layout, system, phi = self._start(params, where)
        w = layout.with_task(params, params, where, "params")
        t, state = store.load(path, where, self._owner(), layout, lambda: system.state(phi, w))
        self._t, self._state, self._first = t, state, ad.paths(state)
        self._layout, self._system, self._phi = (layout, system, phi) if t else (None, None, None)

    def _owner(self) -> store.Owner:
        return store.Owner(self.rule, self.phi, self.steps)

    def _bound(self, params: Tree) -> tuple[Layout, Training, Tree]:
        """Return what the first update found, or what it would; raise where the parameters are other ones now."""
        if self._layout is None or self._system is None:
            return self._start(params, WHERE)
        found = Layout.of(params, WHERE)
        if found != self._layout:
            came, expected = found.differing(self._layout)
            remedy = "One Stepper is for one set of parameters: make another one."
            bad_value(WHERE, "params", came, f"{expected}, as at the first update", remedy)
        return self._layout, self._system, self._phi

    def _start(self, params: Tree, where: str) -> tuple[Layout, Training, Tree]:
        layout = Layout.of(params, where)
        rule = self.rule if layout.xp is np else move(self.rule, layout.xp)
        system = Training(LoopTask(), rule, 0, steps=self.steps, xp=layout.xp)
        dtype = np.dtype(layout.dtype)
        most_axes = 1 + max(len(shape) for shape in layout.shapes)
        shape = Shape(layout.xp, dtype, 1, most_axes, per_task=False)
        for at, leaf in zip(ad.paths(self.phi), ad.leaves(self.phi), strict=True):
            _check_no_zero(leaf, dtype, where, f"phi{at}")
        phi = ad.tree_map(lambda leaf: _in_dtype(leaf, dtype, layout, where), self.phi)
        return layout, system, prepare(phi, system.entries(phi), shape, where, floats=False)

    def _seen(self, layout: Layout, params: Tree, w: Tree, grads: Grads, loss: Loss) -> Seen:
        """Return what the loop tells at this step, with a task axis."""

        def gradient_at(u: Tree) -> Tree:
            found: Any = grads(layout.without_task(u, params, WHERE, "w"))
            return layout.with_task(found, params, WHERE, "grads")

        def loss_at(u: Tree) -> Array:
            return _one_loss(loss(layout.without_task(u, params, WHERE, "w")), layout)

        gradient = gradient_at(w) if _is_function(grads) else layout.with_task(grads, params, WHERE, "grads")
        told = loss_at(w) if _is_function(loss) else None if loss is None else _one_loss(loss, layout)
        return Seen(
            w, gradient, told, gradient_at if _is_function(grads) else None, loss_at if _is_function(loss) else None
        )

    def _check_finite(self, what: str, paths: Sequence[str], after: list[Any], before: list[Any]) -> None:
        """Raise ValueError where an array is inf or NaN that was finite; a rule may begin with inf in its state."""
        for k, (path, leaf) in enumerate(zip(paths, after, strict=True)):
            if _is_finite(leaf) or (len(before) == len(after) and not _is_finite(before[k])):
                continue
            came = f"inf or NaN{f' in {path}' if path else ''} after update {self._t + 1}"
            remedy = "Nothing was changed. Scale or clip the gradients, take a smaller step size or a wider dtype."
            bad_value(f"{type(self.rule).__name__}.step", what, came, "finite numbers", remedy)


def _own(leaf: Any) -> Any:
    return leaf.copy() if is_array(leaf) else leaf


def _is_function(given: Any) -> bool:
    return callable(given) and not isinstance(given, type)


def _is_finite(leaf: Any) -> bool:
    if getattr(getattr(leaf, "dtype", None), "kind", "") != "f":
        return not isinstance(leaf, float) or math.isfinite(leaf)
    return bool(namespace(leaf).isfinite(leaf).all())


_HOW = "Write Stepper(load_trained(name)), or Stepper(rule, phi)."


def _one_loss(loss: Any, layout: Layout) -> Array:
    """Return one finite number as the loss (1,) of one task; raise where it is none."""
    expected = "one finite number, the loss at params"
    shape = getattr(loss, "shape", ())
    if isinstance(loss, str | bytes | bool | np.bool_) or tuple(shape) != ():
        remedy = "There is no task axis: take the mean, or write loss[0]." if tuple(shape) else ""
        bad_type(WHERE, "loss", checks.shown(loss), expected, remedy)
    try:
        number = float(loss.item() if hasattr(loss, "item") else loss)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        bad_type(WHERE, "loss", f"{checks.shown(loss)}, a {type(loss).__name__}", expected)
    with np.errstate(over="ignore", under="ignore"):
        found = np.asarray([number]).astype(layout.dtype)
    if not np.isfinite(found).all():
        where = "" if not np.isfinite(number) else f", which {layout.dtype} cannot hold"
        bad_value(WHERE, "loss", f"{number}{where}", expected, "Leave this step out, or look for what made it.")
    return layout.xp.asarray(found)


def _check_no_zero(leaf: Any, dtype: np.dtype[Any], where: str, place: str) -> None:
    """Raise ValueError where a number that is not 0 would be 0 in the dtype of the parameters: another rule then."""
    if type(leaf) is not float and (not hasattr(leaf, "dtype") or leaf.dtype.kind != "f"):
        return
    given = np.asarray(to_host(leaf) if is_array(leaf) else leaf)
    with np.errstate(over="ignore", under="ignore"):
        lost = given[(given.astype(dtype) == 0) & (given != 0)]
    if lost.size:
        came = f"{lost.flat[0]}{' in an entry' if given.ndim else ''}, which is 0 in {dtype.name}"
        info = float_info(dtype)
        expected = f"0, or a size of at least {2.0**info.min_exponent * info.eps:.2g}, the least in that dtype"
        remedy = "Give a larger one (eps=1e-4, say), 0 where that is meant, or params of a wider dtype."
        bad_value(where, place, came, expected, remedy)


def _in_dtype(leaf: Any, dtype: np.dtype[Any], layout: Layout, where: str) -> Any:
    """Return an array of phi in the dtype of the parameters and where they are; Python's floats as they are."""
    if not hasattr(leaf, "dtype") or leaf.dtype.kind != "f" or isinstance(leaf, np.ma.MaskedArray):
        return leaf  # `prepare` looks at it
    moved = np.asarray(leaf) if isinstance(leaf, np.generic) else leaf
    if moved.dtype != dtype:
        with np.errstate(over="ignore", under="ignore"):
            moved = moved.astype(dtype)
        if not bool((abs(moved) < np.inf).all()):
            came = f"an array of {leaf.dtype} with a number that {dtype.name} cannot hold"
            bad_value(where, "phi", came, "meta-parameters within the range of the dtype of params")
    return move(moved, layout.xp) if is_array(moved) else moved
