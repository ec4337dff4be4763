"""Digits of trust against the truth: float32 runs against the same numbers in float64, and the logistic map in mpmath.

A number without a digit has fewer than one; to give it two or more is to be silent. To give fewer than one to a number
with two or more is a false alarm.
"""

import mpmath
import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.unroll.nudge import nudged
from metagrad.xp import rng
from tests.cupy_double import double

GD, Momentum = mg.GradientDescent, mg.Momentum
OBJECTIVES = [mg.Final(), mg.LogFinal(), mg.WeightedSum()]
MOST = float(-np.log10(np.finfo(np.float32).eps))
COUNT = 12  # cases side by side in one run, one a task


def symmetric(draw, d, condition):
    Q = np.linalg.qr(draw.standard_normal((d, d)))[0]
    return (Q * np.geomspace(1.0, 1.0 / condition, d)) @ Q.T


def diagonal(draw, steps):
    d = int(draw.integers(1, 6))
    eigenvalues, w0 = draw.uniform(0.05, 1.0, (COUNT, d)), draw.standard_normal((COUNT, d))
    eta = draw.uniform(0.05, 1.95, COUNT)
    return lambda dtype: (mg.DiagonalQuadratic(*rounded(dtype, eigenvalues, w0)), GD(), GD.Phi(*rounded(dtype, eta)))


def dense(draw, steps):
    H = np.stack([symmetric(draw, 4, 30.0) for _ in range(COUNT)])
    w0, eta = draw.standard_normal((COUNT, 4)), draw.uniform(0.1, 1.9, COUNT)
    return lambda dtype: (mg.Quadratic(*rounded(dtype, (H + H.mT) / 2, w0)), GD(), GD.Phi(*rounded(dtype, eta)))


def momentum(draw, steps):
    H = np.stack([symmetric(draw, 4, 30.0) for _ in range(COUNT)])
    w0, eta, mu = draw.standard_normal((COUNT, 4)), draw.uniform(0.05, 1.0, COUNT), draw.uniform(0.3, 0.95, COUNT)
    return lambda dtype: (
        mg.Quadratic(*rounded(dtype, (H + H.mT) / 2, w0)), Momentum(), Momentum.Phi(*rounded(dtype, eta, mu)),
    )  # fmt: skip


def exact_step(draw, steps):
    eigenvalues, w0 = rounded(np.float32, draw.uniform(0.1, 2.0, (COUNT, 1)), draw.standard_normal((COUNT, 1)))
    eta = (1 / eigenvalues[:, 0]).astype(np.float32)
    return lambda dtype: (mg.DiagonalQuadratic(*rounded(dtype, eigenvalues, w0)), GD(), GD.Phi(*rounded(dtype, eta)))


def logistic(draw, steps):
    X, y = draw.standard_normal((COUNT, 40, 4)), np.sign(draw.standard_normal((COUNT, 40)))
    eta = draw.uniform(0.05, 1.0, COUNT)

    def make(dtype):
        inputs, labels, w0 = rounded(dtype, X, y, np.zeros((COUNT, 4)))

        def loss(w):
            return np.mean(np.log(1 + np.exp(-labels * np.einsum("bni,bi->bn", inputs, w))), axis=1)

        return mg.FunctionTask(loss, w0), GD(), GD.Phi(*rounded(dtype, eta))

    return make


def rosenbrock(draw, steps):
    w0 = np.array([-1.2, 1.0]) + 0.3 * draw.standard_normal((COUNT, 2))
    eta = draw.uniform(1e-4, 1.5e-3, COUNT)
    loss = lambda w: (1 - w[:, 0]) ** 2 + 100 * (w[:, 1] - w[:, 0] ** 2) ** 2  # noqa: E731
    return lambda dtype: (mg.FunctionTask(loss, *rounded(dtype, w0)), GD(), GD.Phi(*rounded(dtype, eta)))


def floor(draw, steps):
    X, w, eta = draw.standard_normal((COUNT, 20, 3)), draw.standard_normal((COUNT, 3)), draw.uniform(0.4, 0.9, COUNT)
    X, w = rounded(np.float32, X, w)
    y = np.einsum("bni,bi->bn", X, w).astype(np.float64)  # noise-free: but for the rounding of y
    return lambda dtype: (mg.LeastSquares(*rounded(dtype, X, y)), GD(), GD.Phi(*rounded(dtype, eta)))


def adaptive(rule, fields):
    def family(draw, steps):
        H = np.stack([symmetric(draw, 4, 30.0) for _ in range(COUNT)])
        w0, eta = draw.standard_normal((COUNT, 4)), 10.0 ** draw.uniform(-2.5, -0.6, COUNT)
        fixed = [np.full(COUNT, x) for x in fields]
        return lambda dtype: (
            mg.Quadratic(*rounded(dtype, (H + H.mT) / 2, w0)), rule(), rule.Phi(*rounded(dtype, eta, *fixed)),
        )  # fmt: skip

    return family


def rounded(dtype, *arrays):
    """The numbers of float32 in a dtype."""
    return [x.astype(np.float32).astype(dtype) for x in arrays]


FAMILIES = {
    "diagonal": (diagonal, (10, 100, 1000)),
    "dense": (dense, (10, 100, 400)),
    "momentum": (momentum, (10, 100, 400)),
    "eta = 1/eigenvalue": (exact_step, (5, 20)),
    "logistic": (logistic, (20, 60)),
    "rosenbrock": (rosenbrock, (20, 200)),
    "floor": (floor, (20, 150)),
    "adam": (adaptive(mg.Adam, (0.9, 0.999, 1e-8)), (30, 150)),
    "rmsprop": (adaptive(mg.RMSprop, (0.9, 1e-8)), (30, 150)),
}
NEVER_FALSE = {"diagonal", "dense", "momentum", "logistic", "rosenbrock"}


def true_digits(ours, exact):
    """-log10 of |ours - exact| / |exact| over all of phi, task by task, cut to those of float32."""
    apart = size = 0.0
    for a, b in zip(ad.leaves(ours.grad), ad.leaves(exact.grad), strict=True):
        top = np.where(np.isfinite(b.log2abs()), b.exponent, 0)
        mine, right = (np.ldexp(x.mantissa.astype(np.float64), np.clip(x.exponent - top, -900, 900)) for x in (a, b))
        apart, size = apart + (mine - right).reshape(COUNT, -1)[:, 0] ** 2, size + right.reshape(COUNT, -1)[:, 0] ** 2
    with np.errstate(all="ignore"):
        found = -0.5 * np.log10(apart / size)
    return np.clip(np.nan_to_num(found, nan=-1.0, posinf=MOST, neginf=-1.0), -1.0, MOST)


def compared(name, trust):
    """(true digits, digits said, whether there is a Status), of all cases of a family."""
    family, horizons = FAMILIES[name]
    rows = []
    for steps in horizons:
        for objective in OBJECTIVES:
            make = family(rng(7, name, steps, type(objective).__name__), steps)
            ours, exact = (
                mg.Reverse(per_task=True, trust=trust and dtype == np.float32)(task, rule, objective, phi, steps=steps)
                for dtype in (np.float32, np.float64)
                for task, rule, phi in [make(dtype)]
            )
            rows.append((true_digits(ours, exact), ours.digits.gradient, ours.status != 0))
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_digits_that_are_measured(name):
    true, said, status = compared(name, trust=2)
    lost = true < 1
    silent = lost & (said >= 2) & ~status  # a state that is exactly zero has a Status of its own
    assert silent.sum() <= (2 if name == "eta = 1/eigenvalue" else 0)
    assert status[lost & (said < 1)].all()
    if name in NEVER_FALSE:
        assert not (said[true >= 2] < 1).any()
        assert abs(np.median(said - true)) < 1
    if name in ("eta = 1/eigenvalue", "floor"):
        assert lost.sum() >= 10
        assert status[lost].mean() > 0.9


@pytest.mark.parametrize("name", sorted(NEVER_FALSE))
def test_free_digits_raise_no_false_alarm(name):
    true, said, status = compared(name, trust=0)
    assert not status[true >= 2].any()
    assert not (said[true >= 2] < 1).any()
    assert (said < true + 2.5)[true < MOST - 2].all()


def test_free_digits_say_what_is_lost_for_good():
    for name in ("eta = 1/eigenvalue", "floor"):
        true, said, status = compared(name, trust=0)
        assert ((said < 2) | status)[true < 0.3].all()
        assert status[true < 0.3].mean() > 0.8


def logistic_map(eta, w, steps):
    """F = f(w_T) and dF/d eta of w <- w - eta (w**2 - w), f = w**3/3 - w**2/2, in 200 digits."""
    with mpmath.workdps(200):
        eta, w, slope = mpmath.mpf(eta), mpmath.mpf(w), mpmath.mpf(0)
        for _ in range(steps):
            w, slope = w - eta * (w * w - w), slope * (1 - eta * (2 * w - 1)) - (w * w - w)
        return float(w**3 / 3 - w * w / 2), (w * w - w) * slope


@pytest.mark.parametrize("trust", [0, 2])
@pytest.mark.parametrize("method", [mg.Reverse, mg.Forward])
@pytest.mark.parametrize("eta", [2.8, 2.95])
def test_chaos(eta, method, trust):
    w0 = rng(3, "map").uniform(0.2, 0.8, (6, 1))
    task = mg.FunctionTask(lambda w: (w**3 / 3 - w**2 / 2)[:, 0], w0)
    for steps in (15, 30, 100):
        run = method(per_task=True, trust=trust)
        found = run(task, GD(), mg.Final(), GD.Phi(np.full(6, eta)), steps=steps)
        if steps == 100:
            assert (found.status == mg.Status.CHAOTIC.code).all()
            assert (found.digits.gradient < 1).all()
            assert "windows" in found.report()
            continue
        assert found.ok
        for b, w in enumerate(w0[:, 0]):
            value, slope = logistic_map(eta, float(w), steps)
            ours = found.grad.eta[b].to_float()
            true = -np.log10(abs(float((mpmath.mpf(float(ours)) - slope) / slope)) + 1e-17)
            assert abs(found.digits.gradient[b] - true) < 2.5
            if method is mg.Forward and not trust:
                continue  # it knows of the measure's own rounding alone
            of_value = -np.log10(abs(found.value[b].to_float() / value - 1) + 1e-17)
            assert found.digits.value[b] < of_value + 2


def shipped(steps, **options):
    trained = mg.load_trained("lstm_quadratics")
    task = mg.random_regressions(16, 10, family="gaussian", seed=1, dtype="float32")
    return mg.Reverse(**options)(task, trained.optimizer, mg.WeightedSum(), trained.phi, steps=steps)


def test_the_lstm_that_ships():
    """In float32 its meta-gradient is 19 % off after 100 steps, and no number after 300."""
    assert shipped(20, trust=True).ok
    assert shipped(20, trust=True).digits.gradient[0] > 3
    assert shipped(100, trust=3).digits.gradient[0] < 1.5
    assert shipped(300, trust=True, gradient="stop_gradient").digits.gradient[0] < 1.5
    found = shipped(300, trust=True)
    assert found.digits.gradient[0] < 0.5
    assert (found.status == mg.Status.CHAOTIC.code).all()
    assert (shipped(300).status == mg.Status.CHAOTIC.code).any()  # and without another run
    assert shipped(300).growth.max() > 8


@pytest.mark.parametrize(("dtype", "steps", "free"), [(np.float32, 300, True), (np.float64, 400, False)])
def test_a_chaotic_lstm(dtype, steps, free):
    rule = mg.CoordinatewiseLSTM((8, 8), 10.0, 0.1)
    phi = ad.tree_map(lambda x: (3.0 * x).astype(dtype), rule.init_meta(np.random.default_rng(3)))
    task = mg.random_regressions(8, 5, family="gaussian", seed=1, dtype=dtype)
    found = mg.Reverse(trust=True)(task, rule, mg.Final(), phi, steps=steps)
    assert found.digits.gradient[0] < 1
    assert (found.status == mg.Status.CHAOTIC.code).all()
    if free:  # one run alone sees it, or has two digits at most: which of both depends on how products are rounded
        alone = mg.Reverse()(task, rule, mg.Final(), phi, steps=steps)
        assert not alone.ok or alone.digits.gradient.max() < 2


def test_a_stopped_gradient_that_cancels():
    """At eta = 2/L the steps go back and forth: what they give cancels."""
    eigenvalue = np.float32(0.3)
    task = mg.DiagonalQuadratic(np.array([[eigenvalue]]), np.ones((1, 1), np.float32))
    for steps in (10, 50):
        for trust in (0, 2):
            run = mg.Reverse(gradient="stop_gradient", trust=trust)
            found = run(task, GD(), mg.LogFinal(), GD.Phi(np.float32(2) / eigenvalue), steps=steps)
            assert found.status == mg.Status.GRADIENT_ROUNDING.code
            assert found.digits.gradient == 0


@pytest.mark.parametrize("method", [mg.Reverse(), mg.Forward(), mg.Value(), mg.Reverse(fused=False)], ids=repr)
def test_a_value_that_is_rounding(method):
    """Eigenvalues from 1 to 1e-12 in float32: after the first is solved, w'Hw/2 is its rounding."""
    Q = np.linalg.qr(rng(1, "rotation").standard_normal((4, 4)))[0]
    H = (Q * np.array([1.0, 1e-9, 1e-10, 1e-12])) @ Q.T
    task = mg.Quadratic(((H + H.T) / 2).astype(np.float32), np.ones((1, 4), np.float32))
    found = method(task, GD(), mg.Final(), GD.Phi(np.float32(1.0)), steps=6)
    assert found.digits.value < 1
    assert not found.ok


TASK = mg.random_quadratics(3, 4, seed=1)
METHODS = {
    "reverse": (mg.Reverse, {}),
    "unfused": (mg.Reverse, {"fused": False}),
    "forward": (mg.Forward, {}),
    "windows": (mg.Windows, {"window": 7}),
    "value": (mg.Value, {}),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_every_way_has_digits_and_keeps_its_numbers(name, objective):
    kind, options = METHODS[name]
    plain, trusted = (kind(**options, trust=t)(TASK, GD(), objective, GD.Phi(0.1), steps=30) for t in (False, True))
    assert np.array_equal(plain.value.mantissa, trusted.value.mantissa)
    for a, b in zip(ad.leaves(plain.grad), ad.leaves(trusted.grad), strict=True):
        assert np.array_equal(a.mantissa, b.mantissa)
    for found in (plain, trusted):
        assert found.ok
        assert found.digits.value.shape == (3,)
        assert ((found.digits.value > 10) & (found.digits.value < 16)).all()
        if name != "value":
            assert np.ptp(found.digits.gradient) == 0  # that of the mean over tasks
            assert 10 < found.digits.gradient[0] < 16
        else:
            assert found.digits.gradient is None


@pytest.mark.parametrize("rule", [(GD(), GD.Phi(0.1)), (Momentum(), Momentum.Phi(0.1, 0.9))], ids=["gd", "momentum"])
@pytest.mark.parametrize("options", [{}, {"fused": False}], ids=["fused", "tape"])
def test_less_memory_is_the_same_digits(rule, options):
    digits = [
        mg.Reverse(**options, memory=memory, trust=True)(TASK, rule[0], mg.LogFinal(), rule[1], steps=60).digits
        for memory in (1 << 30, 1500)
    ]
    assert np.array_equal(digits[0].value, digits[1].value)
    assert np.array_equal(digits[0].gradient, digits[1].gradient)


def test_less_memory_is_the_same_digits_with_the_lstm():
    here, there = (shipped(30, trust=1, memory=memory).digits for memory in (1 << 30, 1_500_000))
    assert np.array_equal(here.value, there.value)
    assert np.array_equal(here.gradient, there.gradient)


@pytest.mark.parametrize("power", [-40, 900])
def test_another_scale_is_the_same_digits(power):
    far = mg.Quadratic(TASK.H, np.ldexp(TASK.w0, power))
    here, there = (
        mg.Reverse(trust=True, fused=False)(t, GD(), mg.LogFinal(), GD.Phi(0.3), steps=40).digits for t in (TASK, far)
    )
    assert here.gradient == pytest.approx(there.gradient)


def test_a_nudge_moves_every_number_by_a_unit_alike_on_every_machine():
    w = (rng(0, "w").standard_normal((3, 5)).astype(np.float32), np.zeros((3, 2)), np.arange(3))
    moved = nudged(w, 1, 7)
    relative = moved[0] / w[0] - 1
    assert (np.abs(np.abs(relative) / np.finfo(np.float32).eps - 1) < 0.51).all()
    assert 0 < (relative > 0).sum() < 15
    assert np.array_equal(nudged((2 * w[0],), 1, 7)[0], 2 * moved[0])
    assert not np.array_equal(nudged(w, 2, 7)[0], moved[0])
    assert not np.array_equal(nudged(w, 1, 8)[0], moved[0])
    assert not moved[1].any()
    assert moved[2] is w[2]
    assert np.array_equal(nudged(double.NAMESPACE.asarray(w[0]), 1, 7).get(), moved[0])


def test_trust_is_checked():
    for wrong in ("yes", 1.5, None):
        with pytest.raises(TypeError, match=r"Reverse: trust is .*expected an integer"):
            mg.Reverse(trust=wrong)
    with pytest.raises(ValueError, match="Value: trust is -1"):
        mg.Value(trust=-1)


def test_what_is_no_number_has_no_digit():
    task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), np.array([[3.0], [0.1]]))
    found = mg.Reverse(trust=True, per_task=True)(task, GD(), mg.Final(), GD.Phi(np.full(2, 0.5)), steps=10)
    assert found.digits.value[0] == found.digits.gradient[0] == 0
    assert found.digits.gradient[1] > 12
    assert mg.Status.from_code(found.status[0]).name.startswith("STATE")


def test_a_value_alone_at_the_floor_of_its_excess_is_rounding():
    """Converged to its last digits, what is above the floor is rounding, which no gradient is asked to tell."""
    task = mg.random_least_squares(2, 12, 3, sigma=1.0, seed=0)
    early, late = (mg.value(task, GD(), mg.LogExcess(), GD.Phi(0.5), steps=steps) for steps in (5, 3000))
    assert early.ok
    assert {mg.Status.from_code(code) for code in late.status} == {mg.Status.VALUE_ROUNDING}


class Early(mg.WeightedSum):
    """An objective of a user's that weighs the first half of the run."""

    def weight(self, t, steps):
        return super().weight(t, steps) if t <= steps // 2 else None


@pytest.mark.parametrize("options", [{}, {"method": "windows", "window": 4}, {"method": "forward"}], ids=str)
@pytest.mark.parametrize(("eta", "steps"), [(5.0, 9), (0.5, 200), (0.05, 9)])
def test_an_end_that_is_not_weighed(eta, steps, options):
    """What a run has lost at its end says nothing of what is measured before."""
    at = rng(0, "early").standard_normal((2, 3))
    task = mg.FunctionTask(lambda w: np.sum(np.cosh(w - at), axis=-1), w0=np.zeros((2, 3)))
    found = mg.meta_gradient(task, mg.GradientDescent(), Early(), eta, steps=steps, **options)
    half = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), eta, steps=steps // 2, **options)
    if half.ok and "window" not in options:
        assert found.grad.eta.to_float() == pytest.approx(half.grad.eta.to_float(), rel=1e-9)
