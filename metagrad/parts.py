"""What a user's task, rule or objective leaves out, completed: the one place that looks optional members up.

A part needs its required members alone (`metagrad.protocols`). Every other member has a default, and it is here. No
other module asks a part whether it has a member; a test forbids it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from metagrad import ad
from metagrad.checks import shown
from metagrad.errors import bad_type, bad_value
from metagrad.guard import called, frozen
from metagrad.protocols import Estimator, Joint, Objective, Outer, Rule, Task, Tree
from metagrad.reads import of_another_dtype
from metagrad.xp import Array, Namespace, move, rng

# -- what is a part at all


def check_part(where: str, name: str, part: Any, kind: Any) -> None:
    """Raise TypeError unless `part` is an instance with the members that its protocol requires."""
    if isinstance(part, type):
        bad_type(where, name, shown(part), "an instance", f"Write {part.__name__}().")
    if lacking := missing(part, kind):
        came = "None" if part is None else f"a {type(part).__name__} without {', '.join(lacking)}"
        bad_type(where, name, came, f"an object with the methods of metagrad.protocols.{kind.__name__}")


@cache
def _required(kind: Any) -> tuple[str, ...]:
    return tuple(sorted(name for name in {*vars(kind), *kind.__annotations__} if not name.startswith("_")))


def check_estimator(where: str, name: str, estimator: Any) -> None:
    """Raise TypeError unless `estimator` can be called, and is an instance."""
    if isinstance(estimator, type) or not callable(estimator):
        remedy = f"Write {estimator.__name__}()." if isinstance(estimator, type) else "Reverse() is one."
        bad_type(where, name, shown(estimator), "an estimator, such as Reverse()", remedy)


def check_outer(where: str, name: str, outer: Any) -> None:
    """Raise TypeError unless `outer` is an outer step: a rule, whose `init` takes w too, has its own phi beside it."""
    check_part(where, name, outer, Outer)
    try:
        inspect.signature(outer.init).bind(None)
    except TypeError:
        remedy = "Through(rule, phi) makes one of a rule."
        bad_type(where, name, f"a {type(outer).__name__}", "an outer step, whose `init` takes phi alone", remedy)


def missing(part: Any, kind: Any) -> list[str]:
    """Return the required members that a part lacks."""
    return [name for name in _required(kind) if not hasattr(part, name)]


# -- tasks

# Tasks of ours that hold no code of others, and write into nothing: they are called without a guard.
_OURS = ("diagonal_quadratic", "quadratic", "least_squares.task", "mlp_classifier", "mlp_regressor.task")
OF_OURS = frozenset(f"metagrad.tasks.{name}" for name in _OURS)


def _asked(task: Any, member: str, function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), a member of a task; a user's on arrays that it cannot write into."""
    return function(*args) if type(task).__module__ in OF_OURS else called(task, member, function, *args)


def known_gradient(task: Task, w: Tree, sample: Any) -> Tree | None:
    """Return d loss/d w by the task's own formula, or None where it has none."""
    own = getattr(task, "gradient", None)
    return None if own is None else _asked(task, "gradient", own, w, sample)


def gradient(task: Task, w: Tree, sample: Any) -> Tree:
    """Return d loss/d w: the task's own where it has one, else the tape's."""
    own = getattr(task, "gradient", None)
    if own is None:
        return ad.grad(lambda u: checked_loss(task, u, sample))(w)
    return _asked(task, "gradient", own, w, sample)


def loss(task: Task, w: Tree, sample: Any) -> Array:
    """Return the loss, of arrays that it cannot write into."""
    return _asked(task, "loss", task.loss, w, sample)


def start(task: Task, draw: Any) -> Tree:
    """Return w_0, in arrays that no one can write into."""
    return frozen(task.init(draw))


def start_of(task: Task, seed: int) -> Tree:
    """Return w_0 under a seed; no stream is made for a class (not one derived from it) whose `init` draws nothing."""
    return start(task, None if vars(type(task)).get("fixed_start", False) else rng(seed, "init"))


_NO_LOSSES = (float, int, tuple, list, dict, type(None))


def checked_loss(task: Task, w: Tree, sample: Any) -> Array:
    """Return the loss; an error that names the task where it is not one number a task in the dtype of w."""
    losses, first = loss(task, w, sample), ad.leaves(w)[0]
    if type(losses) in _NO_LOSSES:
        remedy = "Return one array (B,), in NumPy-style code; np.stack joins numbers."
        bad_type(_loss_of(task), "the loss", f"a {type(losses).__name__}", f"one a task, {first.shape[:1]}", remedy)
    if losses.shape != first.shape[:1]:
        remedy = "Sum over the last axes only, and keep the task axis. A theta of each task is (B, 1), to stand by w."
        bad_value(_loss_of(task), "the loss", f"of shape {losses.shape}", f"one a task, {first.shape[:1]}", remedy)
    if losses.dtype != first.dtype:
        remedy = "Convert the data of the task to the dtype of its parameters, or the parameters to that of the data."
        came = f"of {losses.dtype} for w of {first.dtype}{of_another_dtype(task, first.dtype)}"
        bad_type(_loss_of(task), "the loss", came, "one dtype", remedy)
    return losses


def _loss_of(task: Task) -> str:
    return f"{type(task).__name__}.loss"


def is_random(task: Task) -> bool:
    """Whether the task draws a sample for every step."""
    return not getattr(task, "full_batch", False) and getattr(task, "sample", None) is not None


def sample(task: Task, seed: int, t: int, xp: Namespace) -> Any:
    """Return the randomness of step t of a task, on its device; None for a task that has none."""
    draw = None if getattr(task, "full_batch", False) else getattr(task, "sample", None)
    return None if draw is None else frozen(move(draw(rng(seed, "sample", t), t), xp))


def degree(task: Task) -> int | None:
    """Return the p with loss(s w) = s**p loss(w) for all s > 0, or None where the task declares none."""
    found: int | None = getattr(task, "degree", None)
    return found


def has_measure(task: Task, method: str) -> bool:
    """Whether the task offers the measure `method(w)` beside its loss."""
    return getattr(task, method, None) is not None


def own_measure(task: Task, method: str, w: Tree, sample: Any) -> Array:
    """Return what the task's `method(w)`, or method(w, sample), measures, shape (B,); it must have one."""
    own = getattr(task, method)
    return _asked(task, method, own, w, sample) if takes_sample(own) else _asked(task, method, own, w)


def takes_sample(measure: Any) -> bool:
    """Whether a measure of a task's own takes the sample of the step beside w."""
    code = getattr(measure, "__code__", None)
    return code is not None and "sample" in code.co_varnames[: code.co_argcount]


def member(part: Any, name: str) -> Any:
    """Return a member of a part, for a wrapper that has all that it holds has; AttributeError where it has none."""
    return getattr(part, name)


def has_given(task: Task) -> bool:
    """Whether the task has meta-parameters of its own."""
    return getattr(task, "given", None) is not None


def gradient_rounding(task: Task, w: Tree) -> tuple[Tree, Tree] | None:
    """Return the gradient on all samples and how far rounding may move it; None where the task does not know."""
    own = getattr(task, "gradient_rounding", None)
    return None if own is None else own(w)


def given(task: Task, phi: Tree) -> Task:
    """Return the task with the meta-parameters phi in it; TypeError for a task that has none."""
    if phi is None:
        return task
    own: Callable[[Tree], Task] | None = getattr(task, "given", None)
    if own is None:
        came = f"a {type(task).__name__}, which has no meta-parameters, while phi is a Joint with `task`"
        remedy = "Give FunctionTask a `theta`, wrap the task in LearnedStart, or add a method `given(phi)`."
        bad_type("metagrad", "task", came, "a task with a method `given(phi)`", remedy)
    found: Task = called(task, "given", own, phi)
    return found


def check_given(task: Task, phi: Tree, where: str) -> Tree:
    """Return the meta-parameters of the task, completed and checked."""
    if phi is not None and not has_given(task):
        given(task, phi)  # says so
    own = getattr(task, "check_given", None)
    return phi if own is None or phi is None else own(phi, where)


def answers(task: Task, question: Any, w: Tree, sample: Any) -> Tree:
    """Return question(task, w, sample), or what the task's method of that name returns; TypeError where it has none."""
    if not isinstance(question, str):
        return called(question, "", lambda *seen: question(task, *seen), w, sample)
    own = getattr(task, question, None)
    if not callable(own):
        came = f"a {type(task).__name__}, which does not tell {question!r}"
        remedy = f"Take a task with a method `{question}(w, sample)`, or another rule."
        bad_type("a rule's question", "task", came, "a task that can answer what the rule asks", remedy)
    return called(task, question, own, w, sample)


# -- rules


def check_phi(rule: Any, phi: Tree, where: str) -> Tree:
    """Return the meta-parameters of the rule, completed and checked by the rule where it knows them."""
    own = getattr(rule, "check_phi", None)
    return phi if own is None else own(phi, where)


def complete_phi(rule: Any, phi: Tree, where: str) -> Tree:
    """Return the meta-parameters of the rule as its `Phi`; what is that already is not looked at again."""
    if isinstance(phi, Joint):
        bad_type(where, "phi", "a Joint within a Joint", "Joint(rule=..., task=...), with a tree of its own in each")
    kind: Any = getattr(rule, "Phi", None)
    if not isinstance(kind, type) or isinstance(phi, kind):
        return phi
    if checks_phi(rule):
        return check_phi(rule, phi, where)
    fields, defaults = getattr(kind, "_fields", ()), getattr(kind, "_field_defaults", {})
    if isinstance(phi, tuple | dict | list) or not set(fields[1:]) <= set(defaults):
        bad_type(where, "phi", f"a {type(phi).__name__}", f"{kind.__qualname__}({', '.join(fields)})")
    return kind(phi)


def checks_phi(rule: Any) -> bool:
    """Whether the rule says what its meta-parameters may be."""
    return getattr(rule, "check_phi", None) is not None


def check_horizon(rule: Any, phi: Tree, steps: int, where: str) -> None:
    """Raise where the meta-parameters are not those of a run of so many steps."""
    own = getattr(rule, "check_horizon", None)
    if own is not None:
        own(phi, steps, where)


def project(rule: Any, phi: Tree) -> Tree:
    """Return the nearest meta-parameters within the ranges of the rule; phi as it is where the rule names none."""
    own: Callable[[Tree], Tree] | None = getattr(rule, "project", None)
    return phi if own is None else own(phi)


def is_homogeneous(rule: Any) -> bool:
    """Whether the rule declares that its step commutes with scaling."""
    return bool(getattr(rule, "homogeneous", False))


def at(rule: Any, phi: Tree, t: int) -> Tree:
    """Return the meta-parameters of step t."""
    own = getattr(rule, "at", None)
    return phi if own is None else called(rule, "at", own, phi, t)


def changes_with_time(rule: Any) -> bool:
    """Whether the meta-parameters of a step depend on its time."""
    return getattr(rule, "at", None) is not None


def entries(rule: Any) -> tuple[str, ...] | bool | None:
    """Return the names of the fields of phi that lead with time, True where all of phi does, or None."""
    found: tuple[str, ...] | bool | None = getattr(rule, "entries", None)
    return found


def answer_of(rule: Any) -> Callable[[Tree, Tree, Tree], Tree] | None:
    """Return the function (phi, state, w) -> the parameters that objectives look at; None where that is w."""
    own: Callable[[Tree, Tree, Tree], Tree] | None = getattr(rule, "answer", None)
    return own


def decays(rule: Any) -> tuple[str, ...]:
    """Return the names of the meta-parameters that `step` takes as a `Decay`, with their rest."""
    return tuple(getattr(rule, "decays", ()))


def named_phi(rule: Any) -> Any:
    """Return the NamedTuple of the rule's meta-parameters, or None where it has none."""
    return getattr(rule, "Phi", None)


def draws_meta(rule: Any) -> bool:
    """Whether the rule draws meta-parameters to begin with, by `init_meta(rng, dtype)`."""
    return hasattr(rule, "init_meta")


def meta_like(rule: Any, dtype: Any) -> Any:
    """Return meta-parameters of the shapes of those that `init_meta` draws, without their memory where there is a way.

    That is `rule.meta_like(dtype)`: what is asked of a rule whose sizes a file from a stranger says.
    """
    return rule.meta_like(dtype) if hasattr(rule, "meta_like") else rule.init_meta(rng(0, "init_meta"), dtype)


def inner_rule(rule: Any) -> Any:
    """Return the rule that a wrapper holds, or None."""
    return getattr(rule, "rule", None)


# -- objectives


def looks_at_the_last_only(objective: Objective) -> bool:
    """Whether no iterate but the last has a weight."""
    return bool(getattr(objective, "only_last", False))


def takes_a_logarithm(objective: Objective) -> bool:
    """Whether a term that is zero or negative has a Status of its own."""
    return bool(getattr(objective, "logarithmic", False))


# -- estimators


def gradient_kind(estimator: Any) -> str | None:
    """Return which gradient an estimator takes, "full" or "stop_gradient"; None where it has no such option."""
    found: str | None = getattr(estimator, "gradient", None)
    return found


def with_trust(estimator: Estimator) -> Estimator:
    """Return the estimator with digits that are measured (`trust`), where it can; its numbers are the same bits."""
    found: Any = estimator
    knows = dataclasses.is_dataclass(found) and any(one.name == "trust" for one in dataclasses.fields(found))
    return estimator if not knows or found.trust else dataclasses.replace(found, trust=True)


def goes_on(estimator: Estimator) -> bool:
    """Whether an estimator can go on from where a call before ended: whether it takes `at`."""
    taken = inspect.signature(estimator).parameters.values()
    return any(one.name == "at" or one.kind is one.VAR_KEYWORD for one in taken)


# -- what a wrapper must pass on

# Without these the answer is another one. What only costs range or speed (`degree`, `homogeneous`, `gradient`) may be
# left out: the tape gives the same gradient, and a state that leaves the range has a Status.
_PASSED_ON: dict[Any, tuple[str, ...]] = {
    Task: ("sample", "given"),
    Rule: ("at", "entries", "check_horizon", "answer"),
}


def check_wrapper(part: Any, kind: Any, where: str) -> None:
    """Raise TypeError where `part`, of this kind, holds another part of it and has lost members that change the answer.

    What is held is looked at too, and so on. A member that is left out on purpose is set to None.
    """
    for name, held in _held(part):
        if not hasattr(held, "init") or isinstance(held, type) or not isinstance(held, kind):
            continue
        lost = [m for m in _PASSED_ON[kind] if getattr(held, m, None) is not None and not hasattr(part, m)]
        if "sample" in lost and getattr(held, "full_batch", False):
            lost.remove("sample")
        if lost:
            outer, inner = type(part).__name__, type(held).__name__
            came = f"a {outer} that holds a {inner} in `{name}` and has not its `{'`, `'.join(lost)}`"
            remedy = f"Write {_REMEDIES.get(lost[0], _PROPERTY).format(name=name, member=lost[0])}; or set it to None."
            bad_type(where, kind.__name__.lower(), came, "a wrapper that passes on what it holds", remedy)
        check_wrapper(held, kind, where)


_FEW = 64  # more than that are data, not parts
_PROPERTY = "{member} = property(lambda self: self.{name}.{member})"
_REMEDIES = {
    "given": "def given(self, phi): return dataclasses.replace(self, {name}=self.{name}.given(phi))",
    "answer": "def answer(self, phi, state, w): return self.{name}.answer(phi, its own part of the state, w)",
}


def _held(part: Any) -> list[tuple[str, Any]]:
    """Return what a part holds, by name; what stands in lists, tuples and dicts too."""
    if dataclasses.is_dataclass(part):
        members = [(field.name, getattr(part, field.name)) for field in dataclasses.fields(part)]
    else:
        slots = [x for one in type(part).__mro__ for x in getattr(one, "__slots__", ())]
        members = [*getattr(part, "__dict__", {}).items(), *((x, getattr(part, x, None)) for x in slots)]
    for name, value in list(members):
        if isinstance(value, list | tuple) and len(value) <= _FEW:
            members += [(f"{name}[{i}]", x) for i, x in enumerate(value)]
        elif isinstance(value, dict) and len(value) <= _FEW:
            members += [(f"{name}[{key!r}]", x) for key, x in value.items()]
    return members


def foreign(part: Any) -> Any | None:
    """Return the first function, or object of a class of a user's, that a part is or holds; None where all is ours."""
    module = type(part).__module__
    if not module.startswith("metagrad."):
        is_made = module == "builtins" and type(part).__flags__ >> 9 & 1  # CPython's flag of classes that code makes
        return None if module in ("builtins", "numpy", "cupy") and not (callable(part) or is_made) else part
    return next((found for _, value in _held(part) if (found := foreign(value)) is not None), None)
