"""Checks of a task: its start, its loss, its gradient and what it declares."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.checkup.differences import Agreement, along, product, signs
from metagrad.checkup.noise import digits_kept
from metagrad.checkup.report import Fault, Findings, Skip
from metagrad.protocols import Task, Tree
from metagrad.reads import arrays_read
from metagrad.unroll.claims import Wrong, beside, wrong_degree, wrong_gradient
from metagrad.unroll.purity import difference, same
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import float_info, is_array, namespace, rng, to_host

MUCH = 1000.0  # times what `difference` counts in: far beyond rounding
PURE = "Draw from the sample or from rng(seed, name, t); keep no counter, no cache and no stream of one's own."
_PLACES = 3
_MOST_BYTES = 1 << 26  # of data that are copied, to see whether they change


class TaskChecks:
    """A task at its start, and the checks of it."""

    def __init__(self, task: Task, seed: int, theta: Tree = None) -> None:
        """Bind the task; nothing is asked of it yet. `theta`: its meta-parameters, where they are given."""
        self.declared, self.seed, self.theta = task, seed, theta
        self.task: Any = task
        self.w: Tree = None
        self.sample: Any = None
        self._data = {name: x.copy() for name, x in arrays_read(task).items() if x.nbytes < _MOST_BYTES}

    def into(self, found: Findings) -> None:
        """Make all checks."""
        found.look("task: start", self.start)
        found.look("task: sample", self.draws, ("task: start",))
        found.look("task: loss", self.loss, ("task: sample",))
        ready = ("task: loss",)
        found.look("task: finite", self.finite, ready)
        found.look("task: pure", self.pure, ready)
        found.look("task: traced", self.traced, ("task: pure",))
        found.look("task: tasks apart", self.apart, ("task: pure",))
        found.look("task: own gradient", self.own_gradient, ("task: pure",))
        found.look("task: degree", self.degree, ("task: pure",))
        smooth = ("task: pure", "task: finite", "task: traced", "task: tasks apart")
        found.look("task: gradient", self.first_order, smooth)
        found.look("task: second order", self.second_order, (*smooth, "task: gradient"))
        found.look("task: digits", self.digits, smooth)
        found.look("task: data", self.data, ("task: start",))

    def value(self, w: Tree) -> Any:
        """Return the loss on the one sample that is looked at."""
        return parts.checked_loss(self.task, w, self.sample)

    def gradient(self, w: Tree) -> Tree:
        """Return the gradient that a rule is shown."""
        return parts.gradient(self.task, w, self.sample)

    def start(self) -> str:
        """See that w_0 is a tree of finite float arrays of one dtype that lead with the tasks, and the same again."""
        self.task = parts.given(self.declared, self.theta)
        w = parts.start(self.task, rng(self.seed, "init"))
        flat = list(zip(ad.paths(w), ad.leaves(w), strict=True))
        if not flat:
            raise Fault("w_0 without arrays", "float arrays (B, ...)", "Return np.asarray(x, float) from init.")
        for path, leaf in flat:
            if not is_array(leaf) or leaf.dtype.kind != "f" or leaf.ndim < 1:
                came = f"w{path} is a {type(leaf).__name__}" + (f" of {leaf.dtype}" if is_array(leaf) else "")
                raise Fault(came, "a float array (B, ...)", "Return np.asarray(x, float) with the task axis first.")
        if namespace(*(leaf for _, leaf in flat)) is not np:
            remedy = "Give the task NumPy arrays: the code is the same."
            raise Fault("w_0 on a device", "arrays on the host, where the checks are made", remedy)
        dtypes, counts = {str(x.dtype) for _, x in flat}, {x.shape[0] for _, x in flat}
        if len(dtypes) > 1 or len(counts) > 1:
            came = f"w of {', '.join(sorted(dtypes))} with {sorted(counts)} tasks"
            raise Fault(came, "one dtype and one number of tasks in all arrays of w", "Convert or reshape them.")
        for path, leaf in flat:
            _refuse_no_numbers(f"w_0{path}", leaf)
        if not same(w, parts.start(self.task, rng(self.seed, "init"))):
            raise Fault("another start when it is asked for again", "the same from the same rng", PURE)
        self.w = w
        return f"{counts.pop()} tasks of {dtypes.pop()}"

    def draws(self) -> str:
        """See that the sample of a step is the same again, and another one at another step."""
        if not parts.is_random(self.task):
            return "no samples"
        xp = namespace(*ad.leaves(self.w))
        draw = partial(parts.sample, self.task, self.seed, xp=xp)
        self.sample = draw(0)
        if not same(self.sample, draw(0)):
            remedy = "Draw all of it from the generator that `sample(rng, t)` is given."
            raise Fault("another sample when it is drawn again for the same step", "the same from the same rng", remedy)
        return "the same whenever it is drawn"

    def loss(self) -> str:
        """See that the loss is one number a task, in the dtype of w, of arguments that it leaves alone."""
        found = self.value(self.w)
        return f"shape {found.shape}, {found.dtype}"

    def finite(self) -> str:
        """See that the loss and its gradient are finite at the start, or tell which array has NaN."""
        found = to_host(self.value(self.w))
        what = "the loss" if not np.isfinite(found).all() else "the gradient"
        bad = ~np.isfinite(found) if what == "the loss" else _not_finite(self.gradient(self.w))
        if not bad.any():
            return "at w_0"
        named = [_no_numbers(name, x) for name, x in {**arrays_read(self.task), **_named(self.sample)}.items()]
        told = "; ".join(filter(None, named))
        came = f"{what} is no finite number in {int(bad.sum())} of {len(bad)} tasks, first {int(np.argmax(bad))}"
        remedy = "Take it out of the data, or mask it." if told else "Look for log, sqrt or a division at the start."
        raise Fault(f"{came}; {told}" if told else came, "finite numbers at w_0", remedy)

    def pure(self) -> str:
        """See that loss and gradient are the same again, also with another w in between."""
        for name, function in (("loss", self.value), ("gradient", self.gradient)):
            first = copied(function(self.w))
            again = copied(function(self.w))
            elsewhere = function(beside(self.w))
            if name == "loss" and same(elsewhere, first):
                remedy = "Use the w that it is given; a result that is kept from an earlier call is the usual cause."
                raise Fault("the same loss at another w", "a loss that depends on w", remedy)
            third = function(self.w)
            if difference(again, first, first) > 1 or difference(third, first, first) > 1:
                came = f"another {name} when it is asked for again at the same w"
                raise Fault(came, "a function of w and the sample", PURE)
        return "the same whenever it is asked for"

    def traced(self) -> str:
        """See that the loss is the same number while it is differentiated."""
        plain, (seen, _) = self.value(self.w), ad.vjp(self.value, self.w)
        if difference(seen, plain, plain) > MUCH:
            came = f"the loss is {_first(seen):.7g} when it is differentiated, {_first(plain):.7g} in plain arrays"
            raise Fault(
                came, "the same number", "Write x = x * y for x *= y: an array with two names is the usual cause."
            )
        return ""

    def apart(self) -> str:
        """See that the loss of a task owes nothing to the parameters of another, nor to how many there are."""
        count = ad.leaves(self.w)[0].shape[0]
        base = copied((self.value(self.w), self.gradient(self.w)))
        if count == 1:
            raise Skip("there is one task only")
        other = beside(self.w)
        for b in {0, count - 1}:
            moved = (self.value(exchanged(self.w, other, b)), self.gradient(exchanged(self.w, other, b)))
            for name, x, y in zip(("loss", "gradient"), moved, base, strict=True):
                rest_x, rest_y = (without(tree, b) for tree in (x, y))
                if difference(rest_x, rest_y, rest_y) > MUCH:
                    came = f"the {name} of other tasks changes with w of task {b}"
                    remedy = "Sum and normalise over the later axes only (axis=-1), never over the task axis."
                    raise Fault(came, "tasks that are independent", remedy)
        self._one_alone(base[0])
        return "none sees another"

    def _one_alone(self, base: Any) -> None:
        """Compare with a batch of one, where the task can be asked so: its data may lead with all tasks."""
        one = ad.tree_map(lambda leaf: leaf[:1] if is_float_array(leaf) else leaf, self.w)
        try:
            alone = parts.loss(self.task, one, self.sample)
        except Exception:  # data that lead with all tasks do not fit one, whatever that raises: no fault
            return
        if np.shape(alone) == (1,) and difference(alone, base[:1], base[:1]) > MUCH:
            came = (
                f"the first task has a loss of {_first(base):.7g} in a batch of {len(base)}, {_first(alone):.7g} alone"
            )
            remedy = "Take no mean over the task axis: the loss is a sum or mean over the later axes."
            raise Fault(came, "the same loss, however many tasks there are", remedy)

    def own_gradient(self) -> str:
        """See that the task's own gradient is that of its loss, at w_0 and beside it."""
        if parts.known_gradient(self.task, self.w, self.sample) is None:
            return "none: the tape differentiates the loss"
        for w in (self.w, beside(self.w)):
            refuse_wrong(wrong_gradient(self.task, w, self.sample))
        return "that of the loss"

    def degree(self) -> str:
        """See that the loss scales as its degree says, at several scales."""
        degree = parts.degree(self.task)
        if degree is None:
            return "none declared"
        refuse_wrong(wrong_degree(self.task, self.w, self.sample))
        refuse_wrong(wrong_degree(self.task, self.w, self.sample, (1, -1, 3, -3)))
        refuse_wrong(wrong_degree(self.task, beside(self.w), self.sample, (1, -2)))
        return f"{degree}, as declared"

    def first_order(self) -> str:
        """Hold the gradient against differences of the loss."""
        agreements = [self._order(k, second=False) for k in range(_PLACES)]
        return told(agreements, "the gradient along a line", "differences of the loss")

    def second_order(self) -> str:
        """Hold Hessian-vector products against differences of the gradient."""
        agreements = [self._order(k, second=True) for k in range(_PLACES)]
        return told(agreements, "a Hessian-vector product", "differences of the gradient")

    def _order(self, k: int, *, second: bool) -> Agreement:
        draw, w = rng(self.seed, "check", k), _host(self.w)
        for _ in range(k):
            w = beside(w)
        direction = signs(w, draw, _largest)
        if not second:
            slope, size = product(_host(self.gradient(w)), direction)
            return along(self.value, w, direction, slope, size)
        u = signs(w, draw, lambda x: 1.0)

        def projected(at: Tree) -> Any:
            g = self.gradient(at)
            rows = [(a * b.astype(a.dtype)) for a, b in zip(ad.leaves(g), ad.leaves(u), strict=True)]
            sums = [np.sum(r, axis=tuple(range(1, r.ndim))) for r in rows]
            return sum(sums[1:], sums[0])

        out, pull = ad.vjp(projected, w)
        slope, size = product(pull(np.ones_like(out))[0], direction)
        return along(projected, w, direction, slope, size)

    def digits(self) -> str:
        """See how many digits rounding inside of the loss and its gradients leaves, at w_0."""
        return kept_digits({"the loss": self.value, "its gradient": self.gradient}, _host(self.w))

    def data(self) -> str:
        """See that the arrays which the code reads are what they were."""
        changed = [name for name, x in arrays_read(self.declared).items() if name in self._data]
        changed = [n for n in changed if not same(to_host(arrays_read(self.declared)[n]), to_host(self._data[n]))]
        if changed:
            came = f"{', '.join(changed)} changed while the task was asked"
            raise Fault(came, "data that stay what they are", "Write x = x - m for x -= m, or take a copy first.")
        return f"{len(self._data)} arrays, unchanged" if self._data else "none is read"


def told(agreements: list[Agreement], what: str, against: str) -> str:
    """Return how many digits agree; Fault where most of the places do not agree with differences."""
    known = [one for one in agreements if one.resolved]
    if not known:
        raise Skip(f"{against} do not resolve it in this dtype")
    failed = [one for one in known if not one.ok]
    if len(failed) > len(known) / 3:  # one of them may be at a kink
        worst = min(failed, key=lambda one: one.digits)
        remedy = "Look at own gradients, branches, roundings and constants (stop_gradient) in the code."
        raise Fault(f"{what} is {worst.came:.7g}", f"{worst.expected:.7g}, by {against}", remedy)
    return f"{max(one.digits for one in known if one.ok):.0f} digits agree with {against}"


def kept_digits(functions: dict[str, Any], at: Tree) -> str:
    """Return how many digits of each function survive rounding inside; Fault where it loses half of them or more."""
    said, first = [], next(x for x in ad.leaves(at) if is_float_array(x))
    full = -np.log10(float_info(first.dtype).eps)
    for name, function in functions.items():
        try:
            kept = digits_kept(function, at)
        except Exception as error:
            raise Skip(f"{name} does not take an array of a class of its own ({type(error).__name__})") from None
        if full - kept >= max(2.0, full / 2):
            came = f"{name} loses {full - kept:.0f} of {full:.0f} digits inside, at w_0"
            remedy = "Numbers that are nearly equal are subtracted: expm1, log1p, or another form; or a wider dtype."
            raise Fault(came, "at least half of the digits of the dtype", remedy)
        said.append(f"{name} keeps {kept:.0f}")
    return f"{', '.join(said)} of {full:.0f} digits"


def refuse_wrong(wrong: Wrong | None) -> None:
    """Raise the Fault of a declaration that does not hold."""
    if wrong is not None:
        raise Fault(f"{wrong.member} is {wrong.came}", wrong.expected, wrong.remedy)


def _refuse_no_numbers(name: str, leaf: Any) -> None:
    told = _no_numbers(name, leaf)
    if told:
        raise Fault(told, "finite numbers", "Look at `init`.")


def _no_numbers(name: str, x: Any) -> str:
    """Say how many entries of an array are no finite numbers, and where the first is; "" where none is."""
    if x.dtype.kind != "f":
        return ""
    bad = ~np.isfinite(to_host(x))
    if not bad.any():
        return ""
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    kind = "NaN" if np.isnan(to_host(x)).any() else "infinite"
    return f"{name} has {int(bad.sum())} entries that are {kind}, first at {at}"


def _named(sample: Any) -> dict[str, Any]:
    flat = ad.leaves(sample) if sample is not None else []
    return {f"sample, leaf {i}": x for i, x in enumerate(flat) if is_array(x)}


def _not_finite(tree: Tree) -> Any:
    rows = [~np.isfinite(to_host(x)).reshape(len(x), -1) for x in ad.leaves(tree) if is_float_array(x)]
    return np.any(np.concatenate(rows, axis=1), axis=1)


def copied(tree: Tree) -> Tree:
    """Return a tree with copies of its arrays."""
    return ad.tree_map(lambda x: x.copy() if is_array(x) else x, tree)


def _host(tree: Tree) -> Tree:
    return ad.tree_map(lambda x: to_host(x) if is_array(x) else x, tree)


def _first(x: Any) -> float:
    return float(np.ravel(to_host(x))[0])


def _largest(x: Any) -> float:
    top = float(np.max(np.abs(x), initial=0.0))
    return top if top > 0 else 1.0


def exchanged(w: Tree, other: Tree, b: int) -> Tree:
    """Return w with the parameters of task b from elsewhere."""

    def one(x: Any, y: Any) -> Any:
        if not is_float_array(x):
            return x
        here = x.copy()
        here[b] = y[b]
        return here

    return ad.tree_map(one, w, other)


def without(tree: Tree, b: int) -> Tree:
    """Return all tasks but one."""
    return ad.tree_map(lambda x: np.delete(to_host(x), b, axis=0), tree)
