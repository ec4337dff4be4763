"""What the assertion passes, what it fails, and how many digits it sees."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import metagrad as mg
from metagrad import ad, testing
from metagrad.testing import UnresolvedError, assert_meta_gradient_matches
from metagrad.testing.differences import room, slope_along

GD = mg.GradientDescent()
TASK = testing.quadratic(2, 3, seed=1)


@given(testing.quadratics(), testing.step_sizes(0.5, most=1.8), testing.horizons(30), testing.objectives())
def test_theory_agrees_below_and_beyond_the_limit(task, eta, steps, objective):
    match = assert_meta_gradient_matches(task, GD, objective, eta, steps, least=1.0)
    assert match.against == "closed_form"
    assert match.digits >= match.asked - 1e-9


@given(st.floats(-7.0, -2.0), st.sampled_from([-1.0, 1.0]), testing.horizons(40))
def test_where_a_step_cancels(log10, sign, steps):
    """Near eta = 1/lambda a step loses digits that runs from neighbouring floats do not miss, and the sweep does."""
    task = mg.DiagonalQuadratic(np.array([(1.0 + sign * 10**log10) / 1.7]), np.array([1.3]))
    for objective in (mg.Mean(), mg.LogFinal()):
        assert_meta_gradient_matches(task, GD, objective, 1.7, steps, against="closed_form")


@given(testing.least_squares(), testing.step_sizes(most=1.8), testing.horizons(20))
def test_theory_agrees_on_regressions(task, u, steps):
    objective = mg.Final("train")
    eta = u / max(testing.curvature(task), 0.1)
    try:
        match = assert_meta_gradient_matches(task, GD, objective, eta, steps)
    except UnresolvedError:
        reject()
    assert match.against == "closed_form"


@settings(max_examples=12)
@given(testing.meta_cases(most_steps=8, learned=True))
def test_differences_agree(case):
    try:
        assert_meta_gradient_matches(*case, against="differences")
    except UnresolvedError:
        reject()


@pytest.mark.parametrize("method", ["reverse", "forward", mg.Reverse(fused=False), mg.Windows(window=7)])
def test_every_method(method):
    for against in (None, "differences"):
        assert_meta_gradient_matches(TASK, GD, mg.LogFinal(), 0.4, 7, method=method, against=against)


@pytest.mark.parametrize("against", ["closed_form", "differences"])
@pytest.mark.parametrize("objective", [mg.Final(), mg.LogFinal()])
@pytest.mark.parametrize("eta", [1.9, 2.5, 30.0])
def test_far_outside_of_the_range_of_floats(against, objective, eta):
    """F reaches 10^1000 and beyond: differences are taken of numbers with exponents of their own."""
    match = assert_meta_gradient_matches(TASK, GD, objective, eta, 400, against=against)
    assert match.digits > 8


@pytest.mark.parametrize("kind", ["shared", "coordinate", "task", "schedule", "schedule_task"])
def test_meta_parameters_of_every_shape(kind):
    from tests.strategies import phi_of

    rule, phi, per_task = phi_of(kind, TASK, 4, 0.4)
    for against in (None, "differences"):
        match = assert_meta_gradient_matches(
            TASK, rule, mg.LogFinal(), phi, 4, per_task=per_task, method="reverse", against=against
        )
        assert match.digits > 9


def test_the_stop_gradient():
    assert_meta_gradient_matches(TASK, GD, mg.Final(), 0.4, 6, gradient="stop_gradient")
    with pytest.raises(ValueError, match="against is 'differences' for gradient='stop_gradient'; expected a way"):
        assert_meta_gradient_matches(TASK, GD, mg.Mean(), 0.4, 6, gradient="stop_gradient", against="differences")
    with pytest.raises(ValueError, match="against is None for gradient='stop_gradient'"):
        assert_meta_gradient_matches(TASK, GD, mg.Mean(), 0.4, 6, method=mg.Reverse(gradient="stop_gradient"))
    full = mg.meta_gradient(TASK, GD, mg.Final(), 0.4, steps=6).grad
    with pytest.raises(AssertionError, match="the meta-gradient in phi"):
        assert_meta_gradient_matches(TASK, GD, mg.Final(), 0.4, 6, gradient="stop_gradient", against=full)


def test_windows_are_another_number():
    with pytest.raises(ValueError, match="windows of 2 of 6 steps; expected a way to the same number"):
        assert_meta_gradient_matches(TASK, GD, mg.Final(), 0.4, 6, method="windows", window=2)
    with pytest.raises(ValueError, match="windows of 2 of 6 steps"):
        assert_meta_gradient_matches(TASK, GD, mg.Mean(), 0.4, 6, method=mg.Windows(window=2))


def test_meta_parameters_of_the_task():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((2, 6, 3))

    def loss(w, theta):
        return np.mean(np.einsum("bni,bi->bn", x, w - 1) ** 2, axis=-1) + np.exp(theta) * np.sum(w * w, axis=-1)

    task = mg.FunctionTask(loss, np.zeros((2, 3)), theta=np.array(-2.0))
    match = assert_meta_gradient_matches(task, GD, mg.Final(), mg.Joint(0.1, np.array(-1.0)), 8)
    assert match.against == "differences"
    few = mg.LearnedStart(task)
    phi = mg.Joint(mg.Momentum.Phi(0.1, 0.5), (np.full(3, 0.2), np.array(-1.0)))
    assert assert_meta_gradient_matches(few, mg.Momentum(), mg.Final(), phi, 5).digits > 7


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 3.0), ("float64", 9.0)])
def test_narrow_floats_are_differenced_in_wide_ones(dtype, digits):
    for task in (testing.quadratic(2, 3, 0, dtype), testing.logistic_regression(2, 5, 3, 0, dtype)):
        assert (
            assert_meta_gradient_matches(task, mg.Momentum(), mg.Final(), mg.Momentum.Phi(0.1, 0.5), 5).digits > digits
        )


@pytest.mark.parametrize("against", ["closed_form", "differences"])
def test_a_python_float_is_rounded_as_the_run_rounds_it(against):
    """eta = 1.02 is 1.0195 in float16, and G' there another one: near the balance point by a fifth."""
    task = mg.DiagonalQuadratic(np.array([[0.9, 1.03]], np.float16), np.ones((1, 2), np.float16))
    assert_meta_gradient_matches(task, GD, mg.LogFinal(), 1.02, 4, against=against, least=0.3)


def test_float16():
    assert_meta_gradient_matches(testing.quadratic(2, 3, 0, "float16"), GD, mg.Final(), 0.3, 3, least=0.5)


def test_many_meta_parameters_along_lines():
    rule = mg.CoordinatewiseLSTM.quadratic((3,))
    phi = rule.init_meta(np.random.default_rng(1))
    assert assert_meta_gradient_matches(TASK, rule, mg.Mean(), phi, 5).digits > 8


def test_a_gradient_of_zero():
    """A run that has stopped before it began owes nothing to phi."""
    rule, phi = mg.Until(mg.Adam(), 1e6), mg.Adam.Phi(0.1, 0.8, 0.9, 0.01)
    assert assert_meta_gradient_matches(TASK, rule, mg.Final(), phi, 4).asked > 3
    with pytest.raises(AssertionError, match="differences"):
        assert_meta_gradient_matches(TASK, rule, mg.Final(), phi, 4, method=Added(1e-6))


# -- what is wrong is found


@dataclasses.dataclass(frozen=True)
class Wrong:
    """An estimator whose gradient is off by a relative error, in one meta-parameter."""

    error: float
    which: int = 0

    def __call__(self, task, rule, objective, phi, *, steps, seed=0, at=None, run=None):
        found = mg.Reverse(trust=True)(task, rule, objective, phi, steps=steps, seed=seed)
        flat = ad.leaves(found.grad)
        flat[self.which] = flat[self.which] * (1.0 + self.error)
        return dataclasses.replace(found, grad=ad.unflatten(found.grad, flat))


@dataclasses.dataclass(frozen=True)
class Added:
    """An estimator whose gradient has a number more in its first entry."""

    error: float

    def __call__(self, task, rule, objective, phi, *, steps, seed=0, at=None, run=None):
        found = mg.Reverse()(task, rule, objective, phi, steps=steps, seed=seed)
        first, *rest = ad.leaves(found.grad)
        return dataclasses.replace(found, grad=ad.unflatten(found.grad, [first + self.error, *rest]))


@pytest.mark.parametrize(("error", "against"), [(1e-10, "closed_form"), (1e-8, "differences"), (-2.0, "differences")])
def test_a_small_error_is_seen(error, against):
    assert_meta_gradient_matches(TASK, GD, mg.LogFinal(), 0.4, 12, method=Wrong(0.0), against=against)
    with pytest.raises(AssertionError) as found:
        assert_meta_gradient_matches(TASK, GD, mg.LogFinal(), 0.4, 12, method=Wrong(error), against=against)
    assert not isinstance(found.value, UnresolvedError)
    assert re.search(
        r"the meta-gradient in phi\.eta is -?\d\.\d{12,}\S*; expected -?\d\.\d{12,}\S*, by ", str(found.value)
    )
    assert "steps=12, seed=0, phi=Phi(eta=0.4)" in str(found.value)


@pytest.mark.parametrize("which", range(4))
def test_an_error_in_one_of_several(which):
    phi = mg.Adam.Phi(0.05, 0.8, 0.95, 0.01)
    with pytest.raises(AssertionError, match=rf"in phi\.{mg.Adam.Phi._fields[which]} is"):
        assert_meta_gradient_matches(TASK, mg.Adam(), mg.Final(), phi, 6, method=Wrong(1e-4, which))


def test_an_error_in_many():
    rule = mg.CoordinatewiseLSTM.quadratic((3,))
    phi = rule.init_meta(np.random.default_rng(1))
    for which in range(len(ad.leaves(phi))):
        with pytest.raises(AssertionError, match=r"in (the signs of the gradient|line \d) is"):
            assert_meta_gradient_matches(TASK, rule, mg.Mean(), phi, 5, method=Wrong(1e-3, which))


@dataclasses.dataclass(frozen=True)
class Swapped:
    """An estimator that gives two entries of an array each other's derivative."""

    first: int
    second: int

    def __call__(self, task, rule, objective, phi, *, steps, seed=0, at=None, run=None):
        found = mg.Reverse(trust=True)(task, rule, objective, phi, steps=steps, seed=seed)
        order = np.arange(10)
        order[[self.first, self.second]] = self.second, self.first
        return dataclasses.replace(found, grad=ad.tree_map(lambda g: g[order], found.grad))


class TenSizes:
    """A rule with a step size for each of ten parameters, as one array."""

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - phi["eta"] * f.gradient(w), state


def test_two_of_many_that_are_swapped():
    """Along signs alone a swap of two entries of one sign would give the same slope."""
    a = np.linspace(0.5, 1.5, 10)
    task = mg.FunctionTask(lambda w: (a * w**2).sum(-1), np.ones((1, 10)))
    given = (task, TenSizes(), mg.Final(), {"eta": np.full(10, 0.1)}, 3)
    assert_meta_gradient_matches(*given, method=Swapped(4, 4), against="differences")
    for pair in [(1, 9), (4, 7), (5, 8), (0, 1), (8, 9)]:  # of the first three all random signs of seed 0 are the same
        with pytest.raises(AssertionError, match=r"in (the signs of the gradient|line \d) is"):
            assert_meta_gradient_matches(*given, method=Swapped(*pair), against="differences")


@pytest.mark.parametrize("against", [None, "differences", 0.0])
def test_a_gradient_of_exactly_0(against):
    """Nothing moves from the optimum: 0 by every way to it, and equal numbers are 0 apart."""
    given = (mg.FunctionTask(lambda w: (w**2).sum(-1), np.zeros((1, 2))), GD, mg.Final(), 0.1, 3)
    assert assert_meta_gradient_matches(*given, against=against).digits > 14
    with pytest.raises(AssertionError, match=r"is 1e-1[23]; expected 0\.0"):
        assert_meta_gradient_matches(*given, method=Added(1e-12), against=against)


class WrongStep:
    """A rule that holds a part of its step constant which depends on phi."""

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        g = f.gradient(w)
        return w - phi["eta"] * g * (1.0 + ad.stop_gradient(phi["eta"])), state


def test_a_rule_that_loses_a_part_of_its_derivative():
    with pytest.raises(AssertionError, match=r"phi\['eta'\]"):
        assert_meta_gradient_matches(TASK, WrongStep(), mg.Final(), {"eta": np.asarray(0.1)}, 3)


def test_numbers_of_ones_own():
    """d/d eta of log|1 - eta h|^2 is -2 h/(1 - eta h) at every step."""
    task, eta, h = mg.DiagonalQuadratic(np.array([0.8]), np.array([1.0])), 0.3, 0.8
    exact = -2 * h / (1 - eta * h)
    assert assert_meta_gradient_matches(task, GD, mg.LogFinal(), eta, 10, against=exact).digits > 13
    assert_meta_gradient_matches(task, GD, mg.LogFinal(), eta, 10, against=GD.Phi(np.asarray(exact)))
    assert_meta_gradient_matches(task, GD, mg.LogFinal(), eta, 10, against={"eta": mg.Scaled.of(np.asarray(exact))})
    with pytest.raises(
        AssertionError, match=r"by the numbers given\. They agree to [67]\.\d digits, and 1\d\.\d had to"
    ):
        assert_meta_gradient_matches(task, GD, mg.LogFinal(), eta, 10, against=exact * (1 + 1e-7))


@pytest.mark.parametrize(
    ("against", "error", "expected"),
    [
        ("closed", ValueError, "against is 'closed'; expected a known choice. Did you mean 'closed_form'"),
        (np.ones(3), ValueError, r"against\.eta is of shape \(3,\); expected shape \(\)"),
        ({"a": 1.0, "b": 2.0}, TypeError, r"against is a tree with \['a'\], \['b'\]; expected 'closed_form'"),
        (object(), TypeError, "against.* is <object"),
        ("closed_form", ValueError, "closed_form: rule is an? Adam; expected GradientDescent"),
    ],
)
def test_what_cannot_be_compared(against, error, expected):
    rule, phi = (mg.Adam(), mg.Adam.Phi(0.1)) if isinstance(against, str) else (GD, 0.1)
    with pytest.raises(error, match=expected):
        assert_meta_gradient_matches(TASK, rule, mg.Final(), phi, 3, against=against)


def test_where_nothing_can_be_shown():
    with pytest.raises(UnresolvedError, match=r"1\d\.\d digits can be compared with closed_form; expected at least 16"):
        assert_meta_gradient_matches(TASK, GD, mg.Final(), 0.4, 5, least=16.0)
    solved = mg.DiagonalQuadratic(np.ones(2), np.ones(2))
    with pytest.raises(UnresolvedError, match="the meta-gradient says of itself: STATE_ZERO"):
        assert_meta_gradient_matches(solved, GD, mg.LogFinal(), 1.0, 5)


def test_a_kink_is_no_agreement():
    """At a kink the differences do not settle, and say so; away from it they do."""
    task = mg.FunctionTask(lambda w: np.sum(np.abs(w), axis=-1), np.array([[1.0]]))
    assert_meta_gradient_matches(task, GD, mg.Final(), 0.3, 2)
    with pytest.raises(AssertionError):
        assert_meta_gradient_matches(task, GD, mg.Final(), 0.5, 2, against="differences")


# -- the differences themselves


@given(st.floats(-3.0, 3.0), st.floats(-2000.0, 2000.0))
def test_a_slope_of_numbers_of_any_size(rate, log2):
    assume(abs(rate) > 1e-3)
    found = slope_along(lambda h: mg.Scaled.of(np.exp(rate * np.array([h])), int(log2)))
    got = found.slope * 2.0 ** (found.exponent - int(log2))
    assert abs(got[0] - rate) <= found.off[0]
    assert found.off[0] <= 1e-8 * max(1.0, abs(rate))


def test_a_function_that_is_no_number_has_no_slope():
    found = slope_along(lambda h: mg.Scaled.of(np.array([np.nan, 1.0 + h])))
    assert found.off[0] == np.inf
    assert found.slope[1] == pytest.approx(1.0, abs=1e-10)


def test_meta_parameters_stay_in_their_ranges():
    assert room(np.array([0.999, 0.2, 5.0, 0.0, -2.0])).tolist() == pytest.approx([0.001, 0.2, 5.0, 1.0, 2.0])
