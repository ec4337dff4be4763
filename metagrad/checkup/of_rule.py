"""Checks of a rule on a task: its meta-parameters, its step, what it declares, and the meta-gradient of a short run."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.checkup.differences import along, signs
from metagrad.checkup.of_task import MUCH, PURE, TaskChecks, copied, exchanged, kept_digits, refuse_wrong, told, without
from metagrad.checkup.report import Fault, Findings, Skip
from metagrad.estimators import Forward, Reverse
from metagrad.objectives import Final
from metagrad.protocols import Joint, Rule, Tree
from metagrad.reads import arrays_read, remembered
from metagrad.system import Training
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.claims import beside, wrong_homogeneity
from metagrad.unroll.phi import Shape, bare, prepare
from metagrad.unroll.purity import difference, same
from metagrad.unroll.rescale import is_float_array
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.unroll import Unroll
from metagrad.xp import float_info, namespace, rng, to_host

_FEW = 12  # meta-parameters, up to which forward mode is asked too
_WHERE = "check"


class RuleChecks:
    """A rule on a task that has been looked at, and the checks of the two."""

    def __init__(self, of_task: TaskChecks, rule: Rule, phi: Tree, steps: int) -> None:
        """Bind the rule."""
        self._of_task, self.rule, self._given, self.steps = of_task, rule, phi, steps
        self.phi: Tree = None
        self.system: Any = None
        self.state: Tree = None
        self._kept = remembered(rule)
        self._data = {name: x.copy() for name, x in arrays_read(rule).items()}

    def into(self, found: Findings) -> None:
        """Make all checks."""
        start = ("task: start", "task: sample")
        found.look("rule: meta-parameters", self.meta_parameters, start)
        found.look(
            "rule: step", self.step, ("rule: meta-parameters", "task: loss", "task: own gradient", "task: degree")
        )
        ready = ("rule: step",)
        found.look("rule: pure", self.pure, ready)
        found.look("rule: traced", self.traced, ("rule: pure",))
        found.look("rule: tasks apart", self.apart, ("rule: pure", "task: tasks apart"))
        found.look("rule: homogeneous", self.homogeneous, ("rule: pure",))
        found.look("rule: finite", self.finite, ready)
        run = ("rule: pure", "rule: traced", "rule: finite", "task: pure")
        found.look("run: reverse = forward", self.forward, (*run, "rule: homogeneous"))
        found.look("run: meta-gradient", self.meta_gradient, (*run, "rule: homogeneous"))
        found.look("rule: digits", self.digits, ("rule: pure",))
        found.look("rule: data", self.data, ready)

    def meta_parameters(self) -> str:
        """See that phi is a tree of finite floats, in the ranges of the rule."""
        of_task = self._of_task
        phi = _complete(self.rule, of_task.declared, self._given, self.steps)
        self.system = Training(
            of_task.declared, self.rule, of_task.seed, steps=self.steps, xp=namespace(*ad.leaves(of_task.w))
        )
        phi = bare(phi)
        shape = Shape.of(of_task.w, self.system.xp, per_task=False)
        self.phi = prepare(phi, self.system.entries(phi), shape, _WHERE)
        for path, leaf in zip(ad.paths(self.phi), ad.leaves(self.phi), strict=True):
            if not np.isfinite(to_host(leaf)).all():
                raise Fault(f"phi{path} has NaN or inf", "finite numbers", "Start from other meta-parameters.")
        if not ad.leaves(self.phi):
            raise Skip("phi has no numbers: there is nothing to differentiate in")
        return f"{sum(leaf.size for leaf in ad.leaves(self.phi))} numbers"

    def step(self) -> str:
        """See that two steps can be taken, which return (w, state) as they came, and write into nothing."""
        with np.errstate(all="ignore"):
            unroll = self._unroll()
            carry = unroll.start()
            for t in range(min(2, self.steps)):
                carry = unroll.advance(TapeStep(unroll.system), carry, t, t + 1)
        self.state = self.system.start(self.phi)[1]
        return f"w and {len(ad.leaves(self.state))} arrays of state, as they came"

    def _unroll(self) -> Unroll:
        of_task, plain = self._of_task, Options(scaling="adjoint")  # homogeneity is looked at later
        return Unroll(Ask(of_task.declared, self.rule, Final(), self.phi, self.steps, of_task.seed), plain, _WHERE)

    def moved(self, w: Tree, state: Tree, t: int = 0) -> tuple[Tree, Tree]:
        """Return the step of time t from (w, state)."""
        found: tuple[Tree, Tree] = self.system.step(t, self.system.phi_at(self.phi, t), w, state)
        return found

    def pure(self) -> str:
        """See that a step is the same again, also with another in between."""
        w, state = self._of_task.w, self.state
        first = copied(self.moved(w, state))
        again = copied(self.moved(w, state))
        self.moved(beside(w), state)
        self.moved(first[0], first[1], min(1, self.steps - 1))
        third = self.moved(w, state)
        scale = (w, state)
        if difference(again, first, scale) > 1 or difference(third, first, scale) > 1:
            now = remembered(self.rule)
            changed = [f"self.{name}" for name in now if now[name] != self._kept.get(name)]
            came = "another step when it is taken again from the same place"
            told = f"; {', '.join(changed)} changed" if changed else ""
            remedy = f"Keep what changes in the state, take the time from f.t. {PURE}"
            raise Fault(came + told, "a function of phi, the state, w and f", remedy)
        if not same(self.state, self.system.start(self.phi)[1]):
            raise Fault("another state from `init` when it is asked again", "a function of phi and w", PURE)
        return "the same whenever it is taken"

    def traced(self) -> str:
        """See that the step is the same while it is differentiated."""
        w, state = self._of_task.w, self.state
        plain, (seen, _) = self.moved(w, state), ad.vjp(self.moved, w, state)
        if difference(seen, plain, (w, state)) > MUCH:
            remedy = "Write x = x * y for x *= y: an array with two names is the usual cause."
            raise Fault("another step when it is differentiated than in plain arrays", "the same one", remedy)
        return "the same as in plain arrays"

    def apart(self) -> str:
        """See that the step of a task owes nothing to the parameters of another."""
        w, state = self._of_task.w, self.state
        count = ad.leaves(w)[0].shape[0]
        if count == 1:
            raise Skip("there is one task only")
        base = copied(self.moved(w, state))
        other = beside(w)
        for b in {0, count - 1}:
            moved = self.moved(exchanged(w, other, b), state)
            rest = [without(_arrays(tree), b) for tree in (moved, base)]
            if difference(rest[0], rest[1], rest[1]) > MUCH:
                came = f"the step of other tasks changes with w of task {b}"
                remedy = "Take norms and means over the later axes (axis=-1), never over the task axis."
                raise Fault(came, "tasks that are independent", remedy)
        return "none sees another"

    def homogeneous(self) -> str:
        """See that the step scales with its arguments, where the rule says so, at two scales and two places."""
        if not parts.is_homogeneous(self.rule):
            return "not declared"
        if parts.degree(self._of_task.task) != 2:
            raise Skip("the task has no degree 2; take a Quadratic to look at it")
        w = self._of_task.w
        with np.errstate(all="ignore"):
            refuse_wrong(wrong_homogeneity(self.system, 0, self.system.phi_at(self.phi, 0), w, self.state))
            second = self.moved(w, self.state)
            refuse_wrong(wrong_homogeneity(self.system, 0, self.system.phi_at(self.phi, 0), *second))
        return "as declared"

    def finite(self) -> str:
        """See that a short run stays finite."""
        w, state = self._of_task.w, self.state
        with np.errstate(all="ignore"):
            for t in range(self.steps):
                w, state = self.moved(w, state, t)
                if not all(np.isfinite(to_host(x)).all() for x in ad.leaves(w)):
                    came, remedy = f"w is no finite number after {t + 1} steps", "Take a smaller step size."
                    raise Fault(came, f"finite numbers for {self.steps} steps", remedy)
        return f"{self.steps} steps"

    def forward(self) -> str:
        """Hold reverse against forward mode."""
        if sum(leaf.size for leaf in ad.leaves(self.phi)) > _FEW:
            raise Skip(f"more than {_FEW} meta-parameters: forward mode would take long")
        grads = []
        for method in (Reverse(fused=False), Forward(fused=False)):
            flat = ad.leaves(self._estimate(method).grad)
            grads.append(np.concatenate([np.ravel(to_host(x.to_float(out_of_range="ieee"))) for x in flat]))
        eps = float_info(grads[0].dtype).eps
        apart = np.abs(np.subtract(*grads, dtype=np.float64)) / max(float(np.max(np.abs(grads))), 1e-300)
        if not (apart <= 1e3 * eps**0.75).all():  # NaN is not
            at = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
            a, b = (float(g[at]) for g in grads)
            remedy = "An op without a derivative, a branch or 0/0 in the code; NaN in one of the two names it."
            raise Fault(f"reverse gives {a:.7g} in entry {at} of phi", f"{b:.7g}, which forward mode gives", remedy)
        return "they agree"

    def _estimate(self, method: Any) -> Any:
        of_task = self._of_task
        with np.errstate(all="ignore"):
            return method(of_task.declared, self.rule, Final(), self.phi, steps=self.steps, seed=of_task.seed)

    def meta_gradient(self) -> str:
        """Hold the meta-gradient along two lines against differences of the loss at the end."""
        found = self._estimate(Reverse(fused=False))
        grad = ad.tree_map(lambda x: to_host(x.to_float(out_of_range="ieee")).astype(np.float64), found.grad)
        agreements = []
        for k in range(2):
            direction = signs(self.phi, np.random.default_rng(k), _room)
            products = [np.ravel(g * v) for g, v in zip(ad.leaves(grad), ad.leaves(direction), strict=True)]
            slope, size = (sum(float(np.sum(f(p))) for p in products) for f in (np.asarray, np.abs))
            with np.errstate(all="ignore"):
                agreements.append(along(self._end, self.phi, direction, slope, size))
        return told(agreements, "the meta-gradient along a line", f"differences of the loss after {self.steps} steps")

    def _end(self, phi: Tree) -> Any:
        """Return the mean loss at the end of the run, in the dtype of phi."""
        of_task, system = self._of_task, self.system
        dtype = ad.leaves(phi)[0].dtype
        w = parts.start(system.given(phi), rng(of_task.seed, "init"))
        w = ad.tree_map(lambda x: x.astype(dtype) if is_float_array(x) else x, w)
        state = system.state(phi, w)
        for t in range(self.steps):
            w, state = system.step(t, system.phi_at(phi, t), w, state)
        task, answer = system.measured(system.phi_at(phi, self.steps - 1), w, state)
        return np.mean(parts.checked_loss(task, answer, system.sample(self.steps)))

    def digits(self) -> str:
        """See how many digits rounding inside of a step leaves."""

        def of_w(w: Tree) -> Tree:
            return self.moved(w, self.state)[0]

        return kept_digits({"the step": of_w}, self._of_task.w)

    def data(self) -> str:
        """See that the arrays which the rule reads are what they were."""
        now = arrays_read(self.rule)
        changed = [name for name, x in self._data.items() if name in now and not same(to_host(now[name]), to_host(x))]
        if changed:
            remedy = "Keep what changes in the state: it is what the backward sweep sees."
            raise Fault(f"{', '.join(changed)} changed in the steps", "arrays that stay what they are", remedy)
        return f"{len(self._data)} arrays, unchanged" if self._data else "none is read"


def _complete(rule: Rule, task: Any, phi: Tree, steps: int) -> Tree:
    if isinstance(phi, Joint):
        return Joint(_complete(rule, task, phi.rule, steps), parts.check_given(task, phi.task, _WHERE))
    phi = parts.complete_phi(rule, parts.check_phi(rule, phi, _WHERE), _WHERE)
    try:
        parts.check_horizon(rule, phi, steps, _WHERE)
    except ValueError as error:
        raise Fault(f"phi is for another number of steps ({error})", "phi of the run", "Give its `steps=`.") from None
    return phi


def _arrays(tree: Tree) -> Tree:
    """Return the float arrays of a tree, as a list: what leads with tasks."""
    return [leaf for leaf in ad.leaves(tree) if is_float_array(leaf)]


def _room(x: Any) -> Any:
    """Return steps for meta-parameters that stay where they may be: within (0, 1) for what lies there."""
    size = np.where(x == 0, 0.01, np.abs(x))
    return np.where((x > 0) & (x < 1), np.minimum(size, 1 - x), size)
