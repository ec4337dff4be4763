"""Strategies for Hypothesis: small tasks, step sizes below and beyond 2/L, horizons, objectives, rules, whole cases.

All of them shrink towards one task of one coordinate, one step and the seed 0. What they draw is well-posed by default
(`metagrad.testing.draws`), so that a failure is one of the code that is tested, and not of the problem's conditioning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from metagrad import checks, optimizers
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.objectives import Final, LogFinal, Mean, MeanLog, WeightedSum
from metagrad.protocols import Objective, Rule, Task, Tree
from metagrad.testing import draws
from metagrad.xp import rng

Strategy = st.SearchStrategy[Any]
Range = tuple[int, int]
_SEEDS = st.integers(0, 2**31)
PLAIN = (
    Final(),
    Final("squared_norm"),
    WeightedSum(),
    WeightedSum(rho=0.9),
    WeightedSum(rho=1.3, measure="squared_norm"),
    Mean(),
)
LOGARITHMIC = (LogFinal(), LogFinal("squared_norm"), MeanLog())
SMOOTH_RULES = (
    "GradientDescent",
    "Momentum",
    "Nesterov",
    "RMSprop",
    "Adagrad",
    "Adam",
    "SGDW",
    "AdamW",
    "NAdam",
    "Adan",
)
_FIELDS = {"eta": (0.05, 0.5), "eps": (0.01, 0.1), "decay": (0.01, 0.3)}  # other fields are decays of averages
_DECAYS = (0.1, 0.9)


class MetaCase(NamedTuple):
    """A whole case: `meta_gradient(*case[:4], steps=case.steps)`, or `assert_meta_gradient_matches(*case)`."""

    task: Task
    rule: Rule
    objective: Objective
    phi: Tree
    steps: int


def quadratics(
    *,
    batch: Range = (1, 4),
    d: Range = (1, 5),
    spectrum: tuple[float, float] = (0.1, 2.0),
    dtype: Any = np.float64,
    diagonal: bool | None = None,
) -> Strategy:
    """Return a strategy of `Quadratic` and `DiagonalQuadratic` tasks, their eigenvalues within `spectrum`.

    `batch`, `d`: the least and the largest number of tasks and of coordinates. `diagonal`: whether H is diagonal; None
    draws that too. TypeError and ValueError for ranges that are none.

    >>> from hypothesis import find
    >>> find(quadratics(d=(2, 5)), lambda task: True).w0.shape
    (1, 2)
    """
    where = "quadratics"
    dtype, spectrum = checks.float_dtype(where, "dtype", dtype), draws.spectrum_of(where, spectrum)
    if diagonal is not None:
        checks.flag(where, "diagonal", diagonal)
    return st.builds(
        draws.quadratic,
        batch=_integers(where, "batch", batch),
        d=_integers(where, "d", d),
        seed=_SEEDS,
        dtype=st.just(dtype),
        diagonal=st.booleans() if diagonal is None else st.just(diagonal),
        spectrum=st.just(spectrum),
    )


def least_squares(
    *,
    batch: Range = (1, 3),
    n: Range = (2, 12),
    d: Range = (1, 5),
    sigma: tuple[float, float] = (0.1, 1.0),
    validation: bool | None = None,
    dtype: Any = np.float64,
) -> Strategy:
    """Return a strategy of `LeastSquares` tasks with noise, of n samples and d inputs, over- and underdetermined.

    `sigma`: the least and the largest standard deviation of the noise. `validation`: whether half of the samples is
    held out; None draws that too. TypeError and ValueError for ranges that are none.
    """
    where = "least_squares"
    dtype = checks.float_dtype(where, "dtype", dtype)
    if validation is not None:
        checks.flag(where, "validation", validation)
    return st.builds(
        draws.regression,
        batch=_integers(where, "batch", batch),
        n=_integers(where, "n", n, least=1 if validation is False else 2),
        d=_integers(where, "d", d),
        seed=_SEEDS,
        sigma=_floats(where, "sigma", sigma, least=0.0),
        validation=st.booleans() if validation is None else st.just(validation),
        dtype=st.just(dtype),
    )


def logistic_regressions(
    *, batch: Range = (1, 3), n: Range = (2, 12), d: Range = (1, 4), dtype: Any = np.float64
) -> Strategy:
    """Return a strategy of `FunctionTask`s: logistic regression with a small decay, whose losses are above 0.1.

    TypeError and ValueError for ranges that are none.
    """
    where = "logistic_regressions"
    return st.builds(
        draws.logistic_regression,
        batch=_integers(where, "batch", batch),
        n=_integers(where, "n", n),
        d=_integers(where, "d", d),
        seed=_SEEDS,
        dtype=st.just(checks.float_dtype(where, "dtype", dtype)),
    )


def tasks(*, dtype: Any = np.float64) -> Strategy:
    """Return a strategy of all the tasks above."""
    dtype = checks.float_dtype("tasks", "dtype", dtype)
    return st.one_of(quadratics(dtype=dtype), least_squares(dtype=dtype), logistic_regressions(dtype=dtype))


def step_sizes(curvature: float = 1.0, *, least: float = 0.02, most: float = 3.0) -> Strategy:
    """Return a strategy of step sizes u/L for a largest curvature L (`draws.curvature`), u from `least` to `most`.

    u = 1 is the fastest on the steepest direction, and beyond u = 2 gradient descent diverges along it: by default a
    third of the range. TypeError and ValueError unless all are finite, above 0, and in order.

    >>> from hypothesis import find
    >>> find(step_sizes(4.0), lambda eta: eta > 0.5) <= 0.75
    True
    """
    where = "step_sizes"
    L = checks.number(where, "curvature", curvature, above=0.0)
    least, most = (checks.number(where, name, x, above=0.0) for name, x in (("least", least), ("most", most)))
    if least > most:
        bad_value(where, "most", most, f"at least {least:g}, the least step size")
    return st.floats(least / L, most / L)


def horizons(most: int = 40) -> Strategy:
    """Return a strategy of numbers of steps, from 1 to `most`."""
    return st.integers(1, checks.count("horizons", "most", most))


def objectives(*, logarithmic: bool | None = None) -> Strategy:
    """Return a strategy of objectives that every task has: of the loss, or of |w|^2; at the end, summed, or averaged.

    `logarithmic`: whether they take a logarithm, which needs losses above 0; None draws both.
    """
    if logarithmic is not None:
        checks.flag("objectives", "logarithmic", logarithmic)
    found = {None: (*PLAIN, *LOGARITHMIC), True: LOGARITHMIC, False: PLAIN}[logarithmic]
    return st.sampled_from(found)


def rules(*names: str, curvature: float = 1.0) -> Strategy:
    """Return a strategy of pairs (rule, phi): hand-designed rules, with meta-parameters inside of their ranges.

    `names`: which, by the names of their classes; by default those that are smooth in all of their meta-parameters
    (Lion takes signs; it is there by name). Step sizes are from 0.05 to 0.5 times 1/`curvature`. ValueError for other
    names.

    >>> from hypothesis import find
    >>> find(rules("Momentum"), lambda pair: True)
    (Momentum(), Phi(eta=0.5, mu=0.5))
    """
    L = checks.number("rules", "curvature", curvature, above=0.0)
    known = [*SMOOTH_RULES, "Lion"]
    for name in names:
        if name not in known:
            bad_value("rules", "names", repr(name), "hand-designed rules", nearest(str(name), known))
    return st.sampled_from(names or SMOOTH_RULES).flatmap(lambda name: _with_phi(name, L))


def learned_rules(dtype: Any = np.float64) -> Strategy:
    """Return a strategy of pairs (rule, phi): `CoordinatewiseLSTM` and `MLP31` of few units, with random weights."""
    dtype = checks.float_dtype("learned_rules", "dtype", dtype)
    small = [optimizers.CoordinatewiseLSTM.quadratic((2,)), optimizers.MLP31(2, 0.05, 0.1)]
    return st.builds(
        lambda rule, seed: (rule, rule.init_meta(rng(seed, "weights"), dtype)), st.sampled_from(small), _SEEDS
    )


def meta_cases(*, most_steps: int = 20, learned: bool = False) -> Strategy:
    """Return a strategy of whole cases: a task, a rule with phi that suits its curvature, an objective, a horizon.

    `most_steps`: the longest horizon. `learned`: with learned rules among them. Written for
    `assert_meta_gradient_matches(*case)`. TypeError and ValueError for other kinds, and for a horizon below 1.
    """
    checks.flag("meta_cases", "learned", learned)
    return _meta_cases(checks.count("meta_cases", "most_steps", most_steps), learned)


@st.composite
def _meta_cases(draw: Any, most_steps: int, learned: bool) -> MetaCase:
    task = draw(tasks())
    hand = rules(curvature=max(draws.curvature(task), 0.1))
    rule, phi = draw(st.one_of(hand, learned_rules()) if learned else hand)
    return MetaCase(task, rule, draw(objectives()), phi, draw(horizons(most_steps)))


def _with_phi(name: str, curvature: float) -> Strategy:
    rule = getattr(optimizers, name)()

    def field(one: str) -> Strategy:
        least, most = _FIELDS.get(one, _DECAYS)
        return st.floats(least, most).map(lambda x: x / curvature if one == "eta" else x)

    phi = st.tuples(*map(field, rule.Phi._fields)).map(lambda values: rule.Phi(*values))
    return phi.map(lambda found: (rule, found))


def _ends(where: str, name: str, given: Any) -> tuple[Any, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        bad_type(where, name, checks.shown(given), "(least, most), two numbers")
    return given[0], given[1]


def _integers(where: str, name: str, given: Any, least: int = 1) -> Strategy:
    low, high = (checks.count(where, name, x, least) for x in _ends(where, name, given))
    if low > high:
        bad_value(where, name, given, "(least, most) in this order")
    return st.integers(low, high)


def _floats(where: str, name: str, given: Any, least: float) -> Strategy:
    low, high = (checks.number(where, name, x, least=least) for x in _ends(where, name, given))
    if low > high:
        bad_value(where, name, given, "(least, most) in this order")
    return st.floats(low, high)
