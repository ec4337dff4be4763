"""Every public callable of the theory answers a bad argument with the project's form of error, and names it."""

import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest

import metagrad.theory
from metagrad.theory import SignedLog, Spectrum, least_squares, no_free_lunch, quadratic, schedules, sgd, starts
from metagrad.theory.least_squares import proportional_limit
from metagrad.theory.quadratic import bounds, horizons, meta_descent
from metagrad.theory.sgd import noisy_quadratic, noisy_schedules, single_pass

FORM = re.compile(r"^[\w. ]+: .+ (is|are|has) .+; expected .+")
INSIDE = {"numbers", "checks", "adjoint", "powers", "recursion", "stepping", "symbolic"}  # what no user calls
BETWEEN = {  # what the folders of the theory lend to each other
    "checked_sample", "checked_schedule", "log_geometric_sum", "mean_index", "one_horizon", "tuning_of",
}  # fmt: skip
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal(6)
SPECTRUM = Spectrum([0.5, 1.0, 2.0], [1.0, 2.0, 0.5])
PROBLEM = sgd.SgdProblem(X, Y)

# a valid value of every argument, by its name
VALID = {
    "spectrum": SPECTRUM,
    "regression": least_squares.Regression.of(X, Y),
    "H": np.diag([1.0, 2.0]),
    "h": [1.0, 2.0],
    "matrix": np.eye(2),
    "zeros": np.array([0]),
    "eigenvalues": [0.5, 1.0],
    "weights": [1.0, 2.0],
    "coefficients": [1.0, 2.0],
    "residual": 0.0,
    "basis": np.eye(2),
    "horizon": np.inf,
    "whole": True,
    "rounding": 0.0,
    "log_weights": None,
    "eta": 0.3,
    "etas": [0.3, 0.2, 0.1],
    "eta0": 0.3,
    "step": 0.5,
    "steps": 4,
    "rho": 0.9,
    "measure": "loss",
    "number": horizons.FLOAT32,
    "meta_steps": 3,
    "scale": 0.01,
    "floor": 0.0,
    "objective": "log",
    "compiled": False,
    "trajectory": meta_descent.meta_descent(SPECTRUM, 0.2, steps=4, meta_steps=3),
    "sign": 1.0,
    "log": 0.0,
    "value": SignedLog(1.0, 0.0),
    "slope": SignedLog(1.0, 0.0),
    "X": X,
    "y": Y,
    "X_val": X[:2],
    "y_val": Y[:2],
    "w": np.zeros(3),
    "w0": np.zeros(3),
    "w_star": np.ones(3),
    "radius": 10.0,
    "sigma": 0.5,
    "signal": 1.0,
    "train": None,
    "method": "svd",
    "gamma": 0.5,
    "s": 0.5,
    "size": 4,
    "ratio": 2.0,
    "risk": 0.5,
    "eps": 0.1,
    "overfit": 1 / 3,
    "learned": 0.5,
    "tuning": None,
    "span": (0.5, 20.0),
    "points": 4,
    "split": 0.5,
    "retrain": False,
    "problem": PROBLEM,
    "measures": [sgd.train_measure(PROBLEM)],
    "schedule": [0.1, 0.2],
    "batch_size": 1,
    "replacement": True,
    "second_moment": None,
    "rows": X,
    "targets": Y,
    "A": np.eye(3),
    "p": np.zeros(3),
    "q": 0.0,
    "time": 1.0,
    "epochs": 1.0,
    "start": 1.0,
    "noise": 1.0,
    "curvatures": [1.0, 2.0],
    "largest": 1.0,
    "d": 2,
    "n": 6,
    "name": "float8",
    "max": 1.0,
    "tiny": 0.1,
    "smallest_subnormal": 0.01,
    "exponent_bits": 4,
    "mantissa_bits": 3,
    "zero_below": 0.0,
    "roundoff": None,
    "values": 2,
    "seen": 2,
    "sequences": no_free_lunch.value_sequences(4, 2),
    "among": np.array([True, False] * 8),
    "loss": np.ones((3, 16)),
    "tasks": starts.QuadraticTasks(np.eye(2)[None], np.ones((1, 2))),
    "phi": np.ones(2),
    "alpha": 0.1,
    "nodes": [0.5, 1.0],
    "at_zero": 0.1,
    "decay": 0.1,
    "smallest": 1.0,
    "condition": 8.0,
    "tolerance": 1e-6,
    "order": "fractal",
    "shape": "linear",
}
# where a name means something else in one function
OVERRIDES = {
    "Spectrum": {"weights": [1.0, 2.0]},
    "Spectrum.of": {"w0": [1.0, 2.0]},
    "Spectrum.diagonal": {"w0": [1.0, 2.0]},
    "exactly_singular": {"H": np.eye(2)[None]},
    "at_steps": {"steps": [3, 4]},
    "SgdProblem": {"batch_size": 2},
    "krylov_regressions": {"method": "products", "steps": 2},
    "SinglePass": {"start": [1.0, 1.0]},
    "NoisyQuadratic": {"noise": [1.0, 1.0], "start": [1.0, 1.0]},
    "lookahead_schedule": {"horizon": 2},
    "QuadraticTasks": {
        "H": np.eye(2)[None],
        "g": np.ones((1, 2)),
        "H_query": np.eye(2)[None],
        "g_query": np.ones((1, 2)),
    },
    "few_samples_separate": {"ratio": 0.01, "sigma": 3.0},
    "AverageCase": {"horizon": 3},
    "AverageCase.limit": {"gamma": 0.5},
    "silver_schedule": {"steps": 3},
    "silver_bound": {"steps": 3},
}
AVERAGE = schedules.AverageCase([0.5, 1.0, 1.5, 2.0, 2.5], np.full(5, 0.2), noise=0.01)
AVERAGED = ("risk", "orthogonal", "optimal", "regimes", "descent")
NOISY = "metagrad.theory.sgd.noisy_schedules"
BY_MODULE = {
    "metagrad.theory.starts.adaptation": {"method": "maml"},
    "metagrad.theory.starts.fixed_points": {"method": "maml"},
    "metagrad.theory.sgd.single_pass": {"problem": single_pass.SinglePass([1.0, 0.5], [1.0, 1.0], sigma=0.5)},
    "metagrad.theory.sgd.noisy_quadratic": {"problem": noisy_quadratic.NoisyQuadratic([1.0], [1.0], [1.0])},
    NOISY: {"problem": noisy_quadratic.NoisyQuadratic([1.0], [1.0], [1.0])},
    **{f"metagrad.theory.schedules.{name}": {"problem": AVERAGE} for name in AVERAGED},
    "metagrad.theory.schedules.chebyshev": {"largest": 10.0},
    "metagrad.theory.schedules.decays": {"problem": noisy_quadratic.NoisyQuadratic([1.0], [1.0], [1.0])},
    "metagrad.theory.sgd.losses": {"measure": sgd.train_measure(PROBLEM)},
}
NOTHING = [None, "3", "x", int, [], {}, object()]
NUMBER = [*NOTHING, float("nan"), float("inf"), 1j]
COUNT = [*NOTHING, -1, 0, 2.5, float("nan"), [1.5]]
FLAG = [None, "yes", 2, [], int]
CHOICE = [None, "other", 3, [], int]
SIZE = [x for x in NUMBER if x != np.inf]  # inf is none: no limit
BAD = {
    "largest": SIZE, "radius": SIZE, "horizon": [*SIZE, -1, 0, 2.5],
    "name": [x for x in NUMBER if not isinstance(x, str)],
    "steps": COUNT, "meta_steps": COUNT, "d": COUNT, "n": COUNT, "size": COUNT, "batch_size": COUNT, "points": COUNT,
    "values": COUNT, "seen": COUNT,
    "exponent_bits": COUNT, "mantissa_bits": COUNT,
    "order": CHOICE, "shape": CHOICE, "measure": CHOICE, "objective": CHOICE, "method": CHOICE,
    "whole": FLAG, "replacement": FLAG, "retrain": FLAG, "compiled": FLAG,
}  # fmt: skip
# a grid without a point: the result has none either
GRIDS = {"eta", "eta0", "step", "rho", "gamma", "sigma", "signal", "ratio", "risk", "s", "time", "epochs"}
OPTIONAL = {"among", "log_weights", "train", "tuning", "w0", "second_moment", "roundoff"}


def public_callables():
    for info in pkgutil.walk_packages(metagrad.theory.__path__, "metagrad.theory."):
        pieces = info.name.split(".")
        if INSIDE & set(pieces) or any(p.startswith("_") for p in pieces):
            continue
        module = importlib.import_module(info.name)
        for name, found in vars(module).items():
            if name.startswith("_") or not callable(found) or getattr(found, "__module__", "") != info.name:
                continue
            if name in BETWEEN:
                continue
            yield info.name, name, found
            if isinstance(found, type):
                for method, bound in inspect.getmembers(found, inspect.ismethod):
                    yield info.name, f"{name}.{method}", bound


def valid_arguments(module, name, found):
    at = VALID | BY_MODULE.get(module, {}) | OVERRIDES.get(name, {})
    return {k: at[k] for k, p in inspect.signature(found).parameters.items() if p.kind is not p.VAR_KEYWORD}


CALLABLES = [pytest.param(*each, id=".".join(each[:2]).removeprefix("metagrad.theory.")) for each in public_callables()]
PLAIN = {"Horizon", "Parts", "Dual", "MetaTrajectory", "WorstCase"}  # containers of results, which nobody builds


@pytest.mark.parametrize(("module", "name", "found"), CALLABLES)
def test_bad_arguments_are_refused_in_the_form_of_the_project(module, name, found):
    if name.split(".")[0] in PLAIN:
        pytest.skip("a container of results")
    arguments = valid_arguments(module, name, found)
    found(**arguments)
    wrong = []
    for argument in arguments:
        for bad in BAD.get(argument, NUMBER):
            if (argument in OPTIONAL and bad is None) or (argument in GRIDS and bad == []):
                continue
            try:
                result = found(**arguments | {argument: bad})
            except (ValueError, TypeError, OverflowError) as error:
                if not FORM.match(str(error).split("\n")[0]):
                    wrong.append(f"{argument}={bad!r}: {type(error).__name__}: {str(error)[:90]}")
            except Exception as error:  # any other kind is what this test is about
                wrong.append(f"{argument}={bad!r}: {type(error).__name__}: {str(error)[:90]}")
            else:
                wrong.append(f"{argument}={bad!r}: accepted, {str(result)[:60]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: proportional_limit.risk(0.3, t, gamma=0.5, sigma=1.0), "74.5 GiB"),
        (lambda t: sgd.train_loss(PROBLEM, 0.1, t), "at_steps"),
        (lambda t: noisy_schedules.greedy_schedule(BY_MODULE[NOISY]["problem"], t), "74.5 GiB"),
        (lambda t: meta_descent.meta_descent(SPECTRUM, 0.1, steps=3, meta_steps=t), "74.5 GiB"),
    ],
)
def test_what_does_not_fit_into_memory_says_so(call, says):
    with pytest.raises(ValueError, match=says) as raised:
        call(10**10)
    assert FORM.match(str(raised.value))


def test_closed_forms_without_a_sum_over_the_horizon_take_any():
    t = 10**15
    assert np.isfinite(quadratic.weighted_sum(SPECTRUM, 0.3, t, 0.99).log)
    assert np.isfinite(quadratic.stop_gradient_d_objective(SPECTRUM, 0.3, t).log)
    assert np.isfinite(least_squares.risk(VALID["regression"], np.ones(3), 0.3, t).log)


@pytest.mark.parametrize("shapes", [((3,), (2,), ()), ((2,), (), (3,)), ((), (2,), (3,))])
def test_shapes_that_do_not_go_together_are_refused(shapes):
    eta, steps, batch = (np.ones(shape) for shape in shapes)
    spectrum = Spectrum(np.ones((*batch.shape, 2)), np.ones(2))
    for function in (quadratic.objective, quadratic.d_log_objective, quadratic.weighted_sum, bounds.log_upper_bound):
        with pytest.raises(ValueError, match="expected a shape that broadcasts") as raised:
            function(spectrum, 0.1 * eta, steps.astype(int))
        assert FORM.match(str(raised.value))


def _refused(found, arguments):
    try:
        found(**arguments)
    except (ValueError, TypeError, OverflowError):
        return True
    return False


@pytest.mark.parametrize(("module", "name", "found"), CALLABLES)
def test_one_bad_entry_among_good_ones_is_refused_where_it_is_alone(module, name, found):
    """First, last or between: a guard that looks at one entry, or asks for all of them, is blind to it."""
    if name.split(".")[0] in PLAIN:
        pytest.skip("a container of results")
    arguments, blind = valid_arguments(module, name, found), []
    for argument, good in arguments.items():
        if isinstance(good, bool) or not isinstance(good, int | float | list | np.ndarray):
            continue
        alone = np.asarray(good)
        alone = alone.astype(float) if alone.dtype.kind in "iu" else alone
        if alone.dtype.kind != "f" or not alone.size or argument in BAD:
            continue
        whole = np.full(3, alone) if alone.ndim == 0 else alone
        if alone.ndim == 0 and (argument not in GRIDS or _refused(found, arguments | {argument: whole})):
            continue
        for bad in (np.nan, np.inf, -np.inf, -1.0, 0.0):
            if not _refused(found, arguments | {argument: np.full_like(alone, bad)}):
                continue
            for at in {0, whole.size // 2, whole.size - 1}:
                entry = whole.copy()
                entry.flat[at] = bad
                if bad == 0 and alone.ndim:  # what may not be all zeros may have one
                    continue
                if not _refused(found, arguments | {argument: entry}):
                    blind.append(f"{argument}[{at}] = {bad}")
    assert not blind
