"""Hand-designed rules whose hyper-parameters may be tuned by gradient: they cannot leave their range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from metagrad import parts
from metagrad.ad import is_branch, leaves, paths, tree_map, unflatten
from metagrad.ad.tape import value_of
from metagrad.checks import float_dtype, instance, shown
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.optimizers._fields import named
from metagrad.optimizers._hyper import DECAY, project_field
from metagrad.optimizers.wrappers._coordinates import (
    MAPS,
    Map,
    as_given,
    bend_at,
    check_coordinate,
    check_number,
    coordinates_of,
    guarded,
    mapped,
    plain,
    slope_at,
    value_at,
)
from metagrad.protocols import Rule, Tree, View
from metagrad.xp import namespace

_WHERE = "Unconstrained"


@dataclass(frozen=True)
class Unconstrained:
    """The update rule `rule` in coordinates that may be any numbers: eta = exp(a), beta = 1/(1 + exp(-c)).

    Its meta-parameters `Phi` are the coordinates: those of Adam are `log_eta`, `logit_beta1`, `logit_beta2`, `log_eps`;
    d/da = eta d/d eta, d/dc = beta (1 - beta) d/d beta. `free` gives the coordinates of hyper-parameters, `phi` the
    hyper-parameters of coordinates. In the logit neither beta near 0 nor 1 - beta near 0 loses digits: rules that need
    1 - beta (Adam, RMSprop) get it beside beta, and 1 - beta = r is the coordinate log((1 - r)/r). beta = 1 - exp(c)
    would leave its range at c >= 0. A coordinate x rounded to its dtype moves eta by |x| times half its roundoff.
    Hyper-parameters that are trees (a step size a layer) have trees of coordinates.

    `start`: hyper-parameters of the rule at which training begins (`init_meta`). `fixed`: names of those that are held
    at the values of `start`, Python's floats, or else at the rule's defaults; they are no meta-parameters. `maps`: for
    some of the names "log" (above 0), "softplus" (above 0, log(1 + exp(a)): linear where it is large), "logit" (within
    (0, 1)) or "identity" (as it is, with nothing that keeps it in its range); by default "log", "logit" or "identity",
    by what the rule's `check_phi` takes. For a schedule write `Scheduled(Unconstrained(rule))`. Hyper-parameters that
    the dtype rounds to their bound are a ValueError at the start and NaN, with a Status, within an unroll: never a rule
    that silently stands still. Source: derived; checked by tests.

    >>> import metagrad as mg
    >>> rule = mg.Unconstrained(mg.Adam(), fixed=("beta2", "eps"))
    >>> rule.free(mg.Adam.Phi(1.0, 0.5))
    Coordinates(log_eta=0.0, logit_beta1=0.0)
    >>> rule.phi(rule.Phi(log_eta=0.0, logit_beta1=0.0))
    Phi(eta=1.0, beta1=0.5, beta2=0.999, eps=1e-08)
    """

    rule: Any  # an Rule with a `Phi` of named numbers
    start: Any = None
    fixed: tuple[str, ...] = ()
    maps: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the rule, and what is said of its hyper-parameters."""
        names = self._names()
        if self.start is not None:
            object.__setattr__(self, "start", self._checked(self.start, _WHERE))
        fixed: Any = self.fixed
        if not isinstance(fixed, tuple | list):
            remedy = f"Write ({fixed!r},)." if isinstance(fixed, str) else "Write ('eps',) for a single one."
            bad_type(_WHERE, "fixed", shown(fixed), "a tuple of names", remedy)
        instance(_WHERE, "maps", self.maps, Mapping, "Write {'eta': 'softplus'}, say.")
        for argument, given in (("fixed", self.fixed), ("maps", self.maps)):
            for name in given:
                if name not in names:
                    bad_value(_WHERE, argument, repr(name), "hyper-parameters of the rule", nearest(str(name), names))
        object.__setattr__(self, "fixed", tuple(self.fixed))
        for name in self.fixed:
            if not isinstance(self._held(name), float):
                came = f"{name!r}, whose value is {'a tree' if is_branch(self._held(name)) else 'an array'}"
                bad_type(_WHERE, "fixed", came, "a Python float", "Give it in `start`.")
        if set(self.fixed) >= set(names):
            bad_value(_WHERE, "fixed", self.fixed, "at least one hyper-parameter that is free")
        _ = self._kinds  # raises where none fits

    def _names(self) -> list[str]:
        parts.check_part(_WHERE, "rule", self.rule, Rule)
        if not _has_names(self.rule):
            expected = "a rule whose `Phi` names its hyper-parameters, without a schedule of entries"
            remedy = f"Write {_other_nesting(self.rule)}." if parts.inner_rule(self.rule) is not None else ""
            bad_type(_WHERE, "rule", f"a {type(self.rule).__name__}", expected, remedy)
        return list(self.rule.Phi._fields)

    @cached_property
    def _kinds(self) -> dict[str, str]:
        """The kind of map of each hyper-parameter that is not fixed."""
        return {name: self._kind(name) for name in self._names() if name not in self.fixed}

    def _kind(self, name: str) -> str:
        chosen = self.maps.get(name)
        if chosen is not None:
            if chosen not in MAPS:
                bad_value(_WHERE, "maps", f"{chosen!r} for {name}", "a known map", nearest(str(chosen), list(MAPS)))
            if chosen != "identity" and not self._takes(name, MAPS[chosen]):
                came = f"{chosen!r} for {name}, which reaches numbers {MAPS[chosen].bounds}"
                bad_value(_WHERE, "maps", came, "a map within the range of the hyper-parameter")
            return chosen
        if not parts.checks_phi(self.rule):
            came = f"a {type(self.rule).__name__} without `check_phi`, which does not say what {name} may be"
            bad_type(_WHERE, "rule", came, f"one that does, or a map for {name}", "Give `maps`.")
        fits = [kind for kind in MAPS if self._takes(name, MAPS[kind])]
        if not fits:
            came = f"a {type(self.rule).__name__}, whose {name} takes none of the numbers -2, 0.5 and 2"
            bad_type(_WHERE, "rule", came, "a rule of numbers", "The weights of a network need no other coordinates.")
        return fits[0]

    def _takes(self, name: str, examples: Map) -> bool:
        """Return whether the rule's own check takes the examples of a map."""
        others = dict.fromkeys(self._names(), 0.5) if self.start is None else self.start._asdict()
        try:
            for value in examples.reaches:
                parts.check_phi(self.rule, self.rule.Phi(**others | {name: value}), _WHERE)
        except (ValueError, TypeError):
            return False
        return True

    def _held(self, name: str) -> Any:
        """Return the value at which a hyper-parameter is fixed."""
        if self.start is not None:
            return getattr(self.start, name)
        defaults = self.rule.Phi._field_defaults
        if name not in defaults:
            bad_value(_WHERE, "fixed", f"{name!r}, which has no default", "one with a value", "Give it in `start`.")
        return defaults[name]

    def _checked(self, phi: Any, where: str) -> Any:
        return parts.check_phi(self.rule, phi, where)

    @property
    def homogeneous(self) -> bool:
        """Whether the rule is homogeneous."""
        return parts.is_homogeneous(self.rule)

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """The NamedTuple of the coordinates, a field for each hyper-parameter that is not fixed."""
        return named("Coordinates", tuple(MAPS[kind].prefix + name for name, kind in self._kinds.items()))

    def free(self, phi: Any = None) -> Any:
        """Return the coordinates of hyper-parameters of the rule, or of `start`; ValueError for any out of range.

        A bare number is eta, as in the rule itself. What is fixed must have the value at which it is held.
        """
        if phi is None and self.start is None:
            bad_type("Unconstrained.free", "phi", "None", "hyper-parameters", "Or give the rule a `start`.")
        given = self.start if phi is None else self._checked(phi, "Unconstrained.free")
        for name in self.fixed:
            held, came = self._held(name), getattr(given, name)
            if is_branch(came) or np.ndim(came) or float(came) != held:
                expected = f"{held}, at which it is fixed"
                bad_value("Unconstrained.free", name, came, expected, "Give all that is fixed as in `start`.")
        return self.Phi(*[coordinates_of(name, kind, getattr(given, name)) for name, kind in self._kinds.items()])

    def phi(self, free: Any) -> Any:
        """Return the hyper-parameters of coordinates, for the rule itself; ValueError where the dtype rounds one out.

        Of 1 - beta they have the digits that beta has; the coordinate has all.
        """
        where = "Unconstrained.phi"
        return self._checked(self._rounded(self._numbers(free, where)), where)

    def slopes(self, free: Any) -> Any:
        """Return the derivative of every hyper-parameter that is not fixed in its coordinate, a tree like `free`.

        >>> import metagrad as mg
        >>> mg.Unconstrained(mg.GradientDescent()).slopes(mg.Unconstrained(mg.GradientDescent()).free(0.5))
        Coordinates(log_eta=0.5)
        """
        return self._of_coordinates(slope_at, free, "Unconstrained.slopes")

    def bends(self, free: Any) -> Any:
        """Return the second derivatives of what `slopes` has the first ones of, a tree like `free`.

        >>> import metagrad as mg
        >>> mg.Unconstrained(mg.Momentum()).bends(mg.Unconstrained(mg.Momentum()).free(mg.Momentum.Phi(0.5, 0.5)))
        Coordinates(log_eta=0.5, logit_mu=0.0)
        """
        return self._of_coordinates(bend_at, free, "Unconstrained.bends")

    def _of_coordinates(self, derivative: Any, free: Any, where: str) -> Any:
        found = [
            tree_map(lambda leaf, kind=kind: _like(leaf, derivative(kind, leaf)), x)
            for kind, x in zip(self._kinds.values(), self._numbers(free, where), strict=True)
        ]
        return self.Phi(*found)

    def _rounded(self, free: Any) -> Any:
        """Return the hyper-parameters of coordinates in their dtype, unchecked."""
        values = {name: self._held(name) for name in self.fixed}
        for (name, kind), x in zip(self._kinds.items(), free, strict=True):
            values[name] = tree_map(partial(as_given, kind), x)
        return self.rule.Phi(**values)

    def init_meta(self, rng: Any, dtype: Any = np.float64) -> Any:
        """Return the coordinates of `start` as arrays of `dtype`; nothing is random, and `rng` is not used."""
        dtype = float_dtype("Unconstrained.init_meta", "dtype", dtype)
        found = tree_map(lambda x: namespace(x).asarray(x, dtype=dtype), self.free())
        return self.check_phi(found, "Unconstrained.init_meta")

    def init(self, phi: Any, w: Tree) -> Tree:
        """Return the state of the rule; ValueError where the dtype of w rounds what is fixed to 0 or 1."""
        dtype = leaves(w)[0].dtype
        for name in self.fixed:
            held = self._held(name)
            with np.errstate(over="ignore", under="ignore"):
                rounded = float(np.asarray(held).astype(dtype))
            if rounded != held and (rounded in (0.0, 1.0) or np.isinf(rounded)):
                came = f"fixed at {held}, which {np.dtype(dtype).name} rounds to {rounded}"
                bad_value("Unconstrained.init", name, came, "within the range of the dtype of the task")
        return self.rule.init(self._hyper_parameters(phi, w), w)

    def step(self, phi: Any, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Take one step of the rule with the hyper-parameters of the coordinates phi."""
        moved: tuple[Tree, Tree] = self.rule.step(self._hyper_parameters(phi, w), state, w, f)
        return moved

    @property
    def answer(self) -> Any:
        """The answer of the rule, None where it has none."""
        own = parts.answer_of(self.rule)
        return None if own is None else lambda phi, state, w: own(self._hyper_parameters(phi, w), state, w)

    def _hyper_parameters(self, phi: Any, w: Tree) -> Any:
        like = value_of(leaves(w)[0])
        decays = parts.decays(self.rule)
        values: dict[str, Any] = {name: self._held(name) for name in self.fixed}

        def of(name: str, kind: str, x: Any) -> Any:
            found = value_at(kind, namespace(like).asarray(x, dtype=like.dtype) if isinstance(x, float) else x)
            return guarded(kind, found if name in decays else plain(found))

        for (name, kind), x in zip(self._kinds.items(), phi, strict=True):
            values[name] = mapped(partial(of, name, kind), x)
        return self.rule.Phi(**values)

    def check_phi(self, phi: Any, where: str) -> Any:
        """Return the coordinates phi; raise unless all are finite floats whose hyper-parameters the dtype can hold."""
        phi = self._numbers(phi, where)
        decays = parts.decays(self.rule)
        for (name, kind), x in zip(self._kinds.items(), phi, strict=True):
            for path, leaf in zip(paths(x), leaves(x), strict=True):
                check_coordinate(where, name, path, kind, leaf, with_rest=name in decays)
        return phi

    def check_horizon(self, phi: Any, steps: int, where: str) -> None:
        """Let the rule check the horizon, with 1 - beta as far as beta has its digits, and beta never 1."""
        found = self._rounded(self._numbers(phi, where))
        held = [name for name in parts.decays(self.rule) if self._kinds.get(name) == "logit"]
        found = found._replace(**{name: project_field(getattr(found, name), DECAY) for name in held})
        parts.check_horizon(self.rule, found, steps, where)

    def _numbers(self, phi: Any, where: str) -> Any:
        """Return the coordinates phi as floats and float arrays; TypeError where they are anything else."""
        kind, numbers = self.Phi, []
        if not isinstance(phi, kind):
            came = "hyper-parameters themselves" if isinstance(phi, self.rule.Phi) else f"a {type(phi).__name__}"
            remedy = "`free(phi)` of the rule gives them for hyper-parameters."
            bad_type(where, "phi", came, f"the coordinates Phi({', '.join(kind._fields)})", remedy)
        for called, x in zip(kind._fields, phi, strict=True):
            flat = [check_number(where, called + path, leaf) for path, leaf in zip(paths(x), leaves(x), strict=True)]
            if not flat:
                bad_type(where, called, repr(x), "a float, a float array, or a tree of them like w")
            numbers.append(unflatten(x, flat))
        return kind(*numbers)


def _like(x: Any, found: Any) -> Any:
    return float(found) if isinstance(x, float) else found


def _has_names(rule: Any) -> bool:
    return hasattr(parts.named_phi(rule), "_fields") and parts.entries(rule) is None


def _other_nesting(rule: Any) -> str:
    """Return how the wrapper `rule` is written around the coordinates of the first rule in it that can have them."""
    kind, inner = type(rule).__name__, parts.inner_rule(rule)
    held = type(inner).__name__
    if not _has_names(inner) and parts.inner_rule(inner) is not None:
        return f"{kind}({_other_nesting(inner)}, ...)"
    held = f"{held}()" if repr(inner) == f"{held}()" else f"{held}(...)"
    return f"{kind}(Unconstrained({held}){'' if parts.entries(rule) is True else ', ...'})"
