"""Stretches of forward mode: taken where they can be, with the bits of the tape and of steps taken one by one."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.replay import ReplayStep, replayed
from metagrad.scaled import Scaled
from metagrad.unroll import tangent_stretch
from metagrad.unroll.growth import TangentGrowth
from metagrad.unroll.monitor import Monitor
from metagrad.unroll.tangent_stretch import TangentStretch
from metagrad.xp import rng
from tests.replay.runs import Phi, bits, data, logistic

DTYPES = ["float64", "float32"]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many steps each stretch took, 0 for a step that was taken by itself; none are, where it begins with None."""
    found: list[int | None] = []
    take = TangentStretch.take

    def noted(self, t, carry):
        one = None if found[:1] == [None] else take(self, t, carry)
        found.append(0 if one is None else one[0])
        return one

    monkeypatch.setattr(TangentStretch, "take", noted)
    return found


def told(estimate):
    """All that an estimate says, bit by bit."""
    end = [np.asarray(x).tobytes() for x in ad.leaves((estimate.end.w, estimate.end.state, estimate.end.exponent))]
    return bits(estimate), estimate.notes, estimate.carrier, end


def held(taken, task, rule, phi, objective=None, *, steps=40, calls=3, compiled="when it pays", **options):
    """Return how many steps the last of some runs took together; all say what the tape does, and steps by themselves.

    The third of a task is the first that is not compared with the tape on the way.
    """
    ask, estimator = (task, rule, objective or mg.WeightedSum(), phi), mg.Forward(**options)
    with replayed(False):
        plain = estimator(*ask, steps=steps)
    with replayed(compiled=compiled):
        for _ in range(calls):
            taken.clear()
            found = estimator(*ask, steps=steps)
            together = sum(taken)
            assert told(found) == told(plain)
        taken[:] = [None]
        assert told(estimator(*ask, steps=steps)) == told(plain)
    taken.clear()
    return together, found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [mg.GradientDescent(), mg.Momentum(), mg.Adam()], ids=["GD", "Momentum", "Adam"])
def test_most_steps_are_taken_together(rule, dtype, taken):
    together, found = held(taken, logistic(dtype=dtype), rule, rule.Phi(0.1))
    assert together >= 36
    count = 40 * (1 + len(ad.leaves(found.grad)))
    assert found.replay == f"{count} of {count} steps, forwards and backwards, were replayed."


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "objective",
    [
        mg.Final(),
        mg.LogFinal(),
        mg.LogExcess(-1.0, measure="loss"),
        mg.MeanLog(),
        mg.Mean(),
        mg.WeightedSum(0.9),
        mg.WeightedSum(1.5),
    ],
    ids=["Final", "LogFinal", "LogExcess", "MeanLog", "Mean", "WeightedSum 0.9", "WeightedSum 1.5"],
)
def test_objectives(objective, dtype, taken):
    assert held(taken, logistic(dtype=dtype), mg.GradientDescent(), 0.1, objective)[0] >= 36


class Gaps:
    """An objective of a user's that does not weigh every third time."""

    measure = "loss"

    def weight(self, t, steps):
        return None if t % 3 == 1 else 1.0 / (1 + t)

    def inner(self, term):
        return term, Scaled.of(np.ones_like(term.mantissa))

    def finish(self, total, steps):
        return total, Scaled.of(np.ones_like(total.mantissa))


def test_times_that_are_not_weighed(taken):
    held(taken, logistic(), mg.GradientDescent(), 0.1, Gaps())


@pytest.mark.parametrize("compiled", ["at once", "never"])
@pytest.mark.parametrize("steps", [1, 8, 130])
def test_machine_code_and_numpy(steps, compiled, taken):
    together, _ = held(taken, logistic(2, 5, 2), mg.GradientDescent(), 0.1, steps=steps, compiled=compiled)
    assert together >= (steps - 4 if steps > 8 else 0)


class Damped:
    """A rule of a user's, with a counter beside its state, which asks for the time."""

    def init(self, phi, w):
        return {"m": np.zeros_like(w), "n": 0}

    def step(self, phi, state, w, f):
        m = 0.5 * state["m"] + f.gradient(w) / (1.0 + 0.1 * f.t)
        return w - phi.eta * m, {"m": m, "n": state["n"] + 1}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_of_a_user(dtype, taken):
    assert held(taken, logistic(dtype=dtype), Damped(), Phi(np.array(0.1, dtype)))[0] >= 30


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
def test_meta_parameters_of_each_task(gradient, dtype, taken):
    phi = mg.Momentum.Phi(np.array([0.1, 0.2, 0.3, 1.0], dtype), np.full(4, 0.5, dtype))
    together, found = held(taken, logistic(dtype=dtype), mg.Momentum(), phi, per_task=True, gradient=gradient)
    assert together >= 36
    assert found.grad.eta.shape == (4,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.LogFinal()], ids=["sum", "log"])
def test_meta_parameters_of_the_task(objective, dtype, taken):
    x, y = data(3, 8, 2, dtype)

    def loss(w, theta):
        fit = np.mean((np.einsum("bnd,bd->bn", x, w) - y) ** 2, axis=-1)
        return fit + np.exp(theta["decay"]) * np.sum(theta["weights"] * w * w, axis=-1)

    theta = {"decay": np.array(-2.0, dtype), "weights": np.ones(2, dtype)}
    task = mg.FunctionTask(loss, w0=np.full((3, 2), 0.1, dtype), theta=theta)
    assert held(taken, task, mg.GradientDescent(), mg.Joint(0.1, theta), objective)[0] >= 36


@pytest.mark.parametrize("one_place", [False, True], ids=["apart", "in one place"])
def test_samples(one_place, taken):
    """Those that are written over one another are not drawn ahead."""
    x, y = data(2, 64, 3)
    room = np.empty((2, 8, 3))

    def draw(stream, t):
        rows = stream.choice(64, 8, replace=False)
        if one_place:
            room[...] = x[:, rows]
            return room, y[:, rows]
        return x[:, rows], y[:, rows]

    def loss(w, sample):
        inputs, labels = sample
        return np.mean((np.einsum("bnd,bd->bn", inputs, w) - labels) ** 2, axis=-1)

    task = mg.FunctionTask(loss, w0=np.zeros((2, 3)), sampler=draw)
    together, _ = held(taken, task, mg.GradientDescent(), 0.1)
    assert together >= 30 or one_place
    assert not (together and one_place)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eta", [0.5, 2.5])
@pytest.mark.parametrize("objective", [mg.WeightedSum(), mg.LogFinal()], ids=["sum", "log"])
def test_states_and_tangents_that_leave_their_band(eta, objective, dtype, taken):
    """A parabola whose degree is not told: they vanish or grow, task by task at other times."""
    start = np.array([[1.0, 0.1], [1e-3, 1.0], [0.3, 1e-8]], dtype)
    task = mg.FunctionTask(lambda w: np.sum(w * w * np.array([0.5, 0.05], dtype), axis=-1), w0=start)
    steps = 80 if dtype == "float32" else 200
    held(taken, task, mg.GradientDescent(), eta, objective, steps=steps, calls=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "loss",
    [
        lambda w: -np.sum(w**4, axis=-1),  # overflows
        lambda w: np.sum(np.log(w + 4) + 0.05 * w * w, axis=-1),  # NaN, in time
        lambda w: np.sum(np.maximum(w, 0.5) + np.abs(w), axis=-1),  # ties
        lambda w: np.sum(np.maximum(w, 0.0) ** 2, axis=-1),  # zeros
        lambda w: np.sum(w * w - 1.0, axis=-1),  # below zero
        lambda w: np.sum(3 * np.cos(5 * w) + w * w / 2, axis=-1),  # chaos
    ],
    ids=["overflow", "nan", "ties", "zeros", "negative", "chaos"],
)
def test_losses_of_which_something_is_said(loss, dtype, taken):
    start = np.array([[1.0, 0.5], [-1.0, 0.0], [0.5, -2.0], [0.0, 0.0]], dtype)
    task = mg.FunctionTask(loss, w0=start)
    for objective in (mg.WeightedSum(), mg.MeanLog()):
        held(taken, task, mg.GradientDescent(), 0.7, objective, steps=24, calls=2, rescue="never")


def test_trees(taken):
    def loss(w):
        a, b = w["a"], w["b"]
        return np.sum((a @ b[..., None])[..., 0] ** 2, axis=-1) + np.sum((b - 1.0) ** 2, axis=-1)

    w0 = {"a": rng(0, "a").standard_normal((3, 2, 4)), "b": np.zeros((3, 4))}
    assert held(taken, mg.FunctionTask(loss, w0=w0), mg.Momentum(), mg.Momentum.Phi(0.05))[0] >= 36


@pytest.mark.parametrize("options", [{"scaling": "none"}, {"trust": True}], ids=str)
def test_what_is_looked_at_on_the_way_is_taken_one_by_one(options, taken):
    """Plain floats; what is moved to neighbouring floats (the run itself is not)."""
    together, _ = held(taken, logistic(), mg.GradientDescent(), 0.1, calls=2, **options)
    assert (together > 0) is ("trust" in options)


@pytest.mark.parametrize("room", ["_BYTES", "_MOST_BYTES"])
def test_states_that_there_is_little_room_for_are_taken_one_by_one(room, monkeypatch, taken):
    monkeypatch.setattr(tangent_stretch, room, 1 << 9)
    assert held(taken, logistic(), mg.Momentum(), mg.Momentum.Phi(0.1), calls=2)[0] == 0


def test_tasks_that_are_new_at_every_call(taken):
    """Their programs are those of their kind, with the data beside phi."""
    for seed in range(5):
        x = rng(seed, "new").standard_normal((2, 6, 3))
        task = mg.FunctionTask(lambda w, x=x: np.mean(np.cosh(np.einsum("bnd,bd->bn", x, w)), axis=-1), np.ones((2, 3)))
        together, _ = held(taken, task, mg.GradientDescent(), 0.1, calls=1)
    assert together >= 36


def test_schedules_are_taken_one_by_one(taken):
    phi = mg.GradientDescent.Phi(np.linspace(0.3, 0.1, 12))
    assert held(taken, logistic(), mg.Scheduled(mg.GradientDescent()), phi, steps=12)[0] == 0


def test_a_program_with_other_bits_is_the_end_of_it(monkeypatch, taken):
    """Code that cannot be read through is compared with the tape in every run."""
    task = logistic()
    ask = task, mg.GradientDescent(), mg.WeightedSum(), 0.1
    with replayed(False):
        plain = mg.Forward()(*ask, steps=40)
    mg.Forward()(*ask, steps=40)
    monkeypatch.setattr(ReplayStep, "_pushed_by_tape", _spoilt(ReplayStep._pushed_by_tape))
    for _ in range(2):
        assert bits(mg.Forward()(*ask, steps=40)) == bits(plain)


def _spoilt(pushed):
    def other(self, *given):
        (of_w, of_state), of_phi = pushed(self, *given)
        return (of_w + 1.0, of_state), of_phi

    return other


def test_a_monitor_looks_when_it_is_as_if_sizes_came_one_by_one():
    for tangents in (1, 3):
        found = []
        for together in (False, True):
            monitor = Monitor(np, 2, "float64")
            for t in range(0, 400, 10):
                if together and t % 20:
                    monitor.passed(range(t, t + 10), tangents)
                    continue
                for k in range(t, t + 10):
                    bad = t % 20 == 0 and k % 7 == 3
                    for _ in range(tangents if k else 0):
                        monitor.observe("ADJOINT", k, np.array([1.0, np.inf if bad and t > 60 else 1.0]))
                    monitor.observe("STATE", k + 1, np.array([np.nan if bad and t > 120 else 1.0, 1.0]))
                if t == 200:
                    monitor.flush()
            found.append([x.tobytes() for x in monitor.finish()])
        assert found[0] == found[1]


def test_growth_is_the_same_however_it_comes():
    rows = [np.abs(x) + 0.1 for x in rng(0, "growth").standard_normal((4, 700, 3))]
    powers = [np.zeros((700, 3), np.int64)] * 2
    one, many = TangentGrowth(np, 3), TangentGrowth(np, 3)
    for k in range(700):
        one.step((rows[0][k], rows[1][k]), (rows[2][k], rows[3][k]), (powers[0][k], powers[1][k]))
    for k in range(0, 700, 70):
        many.steps(*[x[k : k + 70] for x in (*rows, *powers)])
    assert one.result().tobytes() == many.result().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [0, 40, 400, 4000])
def test_sums_of_many_are_those_of_one_after_the_other(power, dtype):
    draw = rng(power, "sums")
    digits = draw.standard_normal((50, 4)).astype(dtype)
    digits[3:9, 1] = -digits[4:10, 1]
    digits[5, 2] = 0
    rows = Scaled.of(digits, draw.integers(-power, power + 1, (50, 4)))
    for special in (1.0, np.inf, np.nan):
        rows.mantissa[7, 0] *= special
        expected = total = Scaled.of(np.zeros(4, dtype))
        for k in range(50):
            expected = expected + Scaled(rows.mantissa[k], rows.exponent[k])
        found = tangent_stretch._added(total, rows)
        assert np.array_equal(found.mantissa, expected.mantissa, equal_nan=True)
        assert np.array_equal(found.exponent, expected.exponent)
