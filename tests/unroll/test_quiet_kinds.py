"""Quiet runs of tasks that are new at every call: laid out once for their kind, with the bits of the tape."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.unroll import quiet
from tests.replay.new_tasks import alike, numbers
from tests.replay.runs import bits
from tests.threads import wrong_in_threads

pytest.importorskip("numba")

GD, ADAM, ADAN = mg.GradientDescent(), mg.Adam(), mg.Adan()
RULES = {"GD": (GD, GD.Phi(0.05)), "Adam": (ADAM, ADAM.Phi(0.05)), "Adan": (ADAN, ADAN.Phi(0.02))}
OBJECTIVES = [mg.WeightedSum(), mg.Final(), mg.MeanLog(), mg.Mean("validation"), mg.LogFinal()]


class Warm:
    """A rule of a user's whose state at the start owes phi something."""

    def init(self, phi, w):
        return phi * np.ones_like(w)

    def step(self, phi, state, w, f):
        state = 0.5 * state + f.gradient(w)
        return w - phi * state, state


@pytest.fixture(autouse=True)
def _compiled():
    with replayed(compiled="at once"):
        yield


@pytest.fixture
def taken(monkeypatch):
    """Whether each run of a kind that was laid out was found at once."""
    found = []
    tried = quiet._Quiet.found_of_kind

    def noted(self, *args):
        estimate = tried(self, *args)
        found.append(estimate is not None)
        return estimate

    monkeypatch.setattr(quiet._Quiet, "found_of_kind", noted)
    return found


def logistic(seed, size=1.0, dtype="float64"):
    x, held = (size * numbers(seed, 2, 4, 12, 3)).astype(dtype)

    def of(w, x):
        z = np.einsum("bnd,bd->bn", x, w)
        return np.mean(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), axis=-1)

    w0 = np.full((4, 3), 0.1, dtype)
    return mg.FunctionTask(lambda w: of(w, x), w0=w0, validation=lambda w: of(w, held))


def labels(seed):
    x, y = numbers(seed, 4, 12, 3), numbers(seed + 1, 4, 12).argsort(axis=-1) % 3

    def loss(w):
        z = np.einsum("bnd,bdk->bnk", x, w)
        return np.mean(np.log(np.sum(np.exp(z), -1)) - np.take_along_axis(z, y[..., None], -1)[..., 0], axis=-1)

    return mg.FunctionTask(loss, w0=np.zeros((4, 3, 3)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("rule", RULES)
def test_the_bits_of_the_tape(rule, objective, dtype, taken):
    for seed in range(14):
        alike(logistic(seed, dtype=dtype), *RULES[rule], objective=objective, steps=14)
    assert any(taken) or (dtype, rule) != ("float64", "GD")


def test_most_runs_are_quiet(taken):
    for seed in range(40):
        found = alike(logistic(seed), steps=14)
    assert taken.count(True) > 20
    assert found.replay == "28 of 28 steps, forwards and backwards, were replayed."


def test_labels(taken):
    for seed in range(20):
        alike(labels(seed), steps=14)
    assert any(taken)


def test_one_task_among_others(taken):
    """A task that is asked for again and again gets programs of its own, and quiet runs of its own."""
    task = logistic(99)
    for seed in range(12):
        alike(logistic(seed), steps=14)
        alike(task, steps=14)
    assert any(taken)


def test_sizes_that_differ_from_call_to_call():
    """Numbers near the ends of the range, and beyond, are the sweep's."""
    sizes = [1.0, 1e-200, 1e3, 1e150, 1e-3, 1.0, 1e300, 1.0, 0.0, 1.0]
    for seed in range(30):
        alike(logistic(seed, sizes[seed % len(sizes)]), steps=14)


def test_step_sizes_that_diverge():
    for seed in range(24):
        alike(logistic(seed), GD, GD.Phi([0.05, 1e5, 1e200][seed % 3]), objective=mg.WeightedSum(), steps=14)


def test_a_start_that_owes_phi_something():
    for seed in range(12):
        alike(logistic(seed), Warm(), np.array(0.05), steps=14)


@pytest.mark.parametrize(
    "options", [{"gradient": "stop_gradient"}, {"per_task": True}, {"memory": 1 << 10}, {"scaling": "none"}], ids=str
)
def test_other_options_are_the_sweeps(options):
    for seed in range(10):
        alike(logistic(seed), steps=14)
        task, phi = logistic(seed), np.full(4, 0.05) if "per_task" in options else 0.05
        found = mg.Reverse(**options)(task, GD, mg.WeightedSum(), GD.Phi(phi), steps=14)
        with replayed(False):
            expected = mg.Reverse(**options)(task, GD, mg.WeightedSum(), GD.Phi(phi), steps=14)
        assert found.value.mantissa.tobytes() == expected.value.mantissa.tobytes()
        assert [g.mantissa.tobytes() for g in found.grad] == [g.mantissa.tobytes() for g in expected.grad]


def test_parts_of_runs_are_the_sweeps(taken):
    for seed in range(12):
        task = logistic(seed)
        whole = alike(task, steps=14)
        for _ in range(2):
            found = mg.Reverse()(task, GD, mg.WeightedSum(), GD.Phi(0.05), steps=14, at=whole.end)
            with replayed(False):
                expected = mg.Reverse()(task, GD, mg.WeightedSum(), GD.Phi(0.05), steps=14, at=whole.end)
            assert bits(found) == bits(expected)


def test_data_that_change_between_calls():
    for seed in range(20):
        x = numbers(seed, 4, 12, 3)
        task = mg.FunctionTask(lambda w, x=x: np.mean(np.cosh(np.einsum("bnd,bd->bn", x, w)), -1), w0=np.ones((4, 3)))
        alike(task, GD, GD.Phi(1e-3), steps=14)
        x *= 0.5
        alike(task, GD, GD.Phi(1e-3), steps=14)


def test_programs_of_numpys_calls_in_between():
    for seed in range(16):
        with replayed(compiled="never" if seed % 4 == 3 else "at once"):
            found = mg.meta_gradient(logistic(seed), GD, mg.WeightedSum(), 0.05, steps=14)
        with replayed(False):
            expected = mg.meta_gradient(logistic(seed), GD, mg.WeightedSum(), 0.05, steps=14)
        assert bits(found) == bits(expected)


def test_what_was_found_stays():
    """The next run of the kind writes over its own memory alone."""
    for seed in range(12):
        alike(logistic(seed), steps=14)
    found = mg.meta_gradient(logistic(50), GD, mg.WeightedSum(), 0.05, steps=14)
    before, end = bits(found), found.end.w.tobytes()
    for seed in range(6):
        mg.meta_gradient(logistic(60 + seed), GD, mg.WeightedSum(), 0.05, steps=14)
    assert (bits(found), found.end.w.tobytes()) == (before, end)


def test_threads():
    def is_right(seed):
        with replayed(compiled="at once"):
            found = mg.meta_gradient(logistic(seed), GD, mg.WeightedSum(), 0.05, steps=14)
        with replayed(False):
            expected = mg.meta_gradient(logistic(seed), GD, mg.WeightedSum(), 0.05, steps=14)
        return bits(found) == bits(expected)

    for seed in range(10):
        assert is_right(seed)
    assert not wrong_in_threads(is_right, each=10)


class Noisy:
    """A task that draws samples where its data say so."""

    def __init__(self, x, noise):
        self.x, self.noise = x, noise

    @property
    def full_batch(self):
        return not self.noise.any()

    def sample(self, draw, t):
        return None if self.full_batch else self.noise * draw.normal(size=(4, 3))

    def init(self, draw):
        return np.full((4, 3), 0.5)

    def loss(self, w, sample):
        found = np.mean(np.einsum("bnd,bd->bn", self.x, w) ** 2, axis=-1)
        return found if sample is None else found + np.sum(w * sample, axis=-1)


class Homogeneous:
    """A task that is homogeneous where its data say so."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    @property
    def degree(self):
        return None if self.y.any() else 2

    def init(self, draw):
        return np.full((4, 3), 0.5)

    def loss(self, w, sample):
        return np.mean((np.einsum("bnd,bd->bn", self.x, w) - self.y) ** 2, axis=-1)


@pytest.mark.parametrize("rule", ["GD", "Adam"])
@pytest.mark.parametrize("is_other", [lambda k: k >= 8, lambda k: k < 8, lambda k: k % 3 == 0], ids=["on", "off", "at"])
def test_what_a_task_says_of_itself_may_be_a_matter_of_data(is_other, rule):
    for k in range(24):
        x, y = numbers(k, 4, 12, 3), numbers(k + 1, 4, 12)
        alike(Noisy(x, np.array(0.3 * is_other(k))), *RULES[rule], steps=14)
        alike(Homogeneous(x, y * is_other(k)), *RULES[rule], steps=14)
