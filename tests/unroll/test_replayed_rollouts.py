"""Rollouts by programs: every entry of the curve, and where the run ended, has the bits of the steps one by one."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import ReplayStep, replayed
from metagrad.unroll import replay_rollout
from tests.replay.new_tasks import numbers

GD, ADAM, LSTM = mg.GradientDescent(), mg.Adam(), mg.CoordinatewiseLSTM()
FOLLOWING = mg.Following(GD, eta=mg.Cosine())
RULES = {
    "GD": (GD, 0.05),
    "Adam": (ADAM, ADAM.Phi(0.05)),
    "LSTM": (LSTM, LSTM.init_meta(np.random.default_rng(0))),
    "schedule": (FOLLOWING, FOLLOWING.Phi(0.1, 0.0)),
    "diverges": (GD, 1e200),
}


def logistic(seed, **options):
    x = numbers(seed, 4, 12, 3)

    def loss(w):
        z = np.einsum("bnd,bd->bn", x, w)
        return np.mean(z**2 + np.log1p(np.exp(-np.abs(z))), axis=-1)

    return mg.FunctionTask(loss, w0=np.full((4, 3), 0.1), **options)


def minibatches(seed):
    x = numbers(seed, 4, 12, 3)

    def loss(w, sample):
        return np.mean(np.tanh(np.einsum("bnd,bd->bn", x[:, sample], w)) ** 2, axis=-1)

    return mg.FunctionTask(loss, w0=np.full((4, 3), 0.1), sampler=lambda draw, t: draw.integers(0, 12, 5))


@pytest.fixture
def taken(monkeypatch):
    """Which steps went by programs, a list that grows."""
    steps = []
    ahead = ReplayStep.ahead

    def noted(self, *args):
        found = ahead(self, *args)
        steps.append(len(found[0]))
        return found

    monkeypatch.setattr(ReplayStep, "ahead", noted)
    return steps


def alike(task, rule, phi, steps=50, **options):
    curve, end = mg.rollout(task, rule, phi, steps=steps, with_end=True, **options)
    with replayed(False):
        expected, known = mg.rollout(task, rule, phi, steps=steps, with_end=True, **options)
    assert curve.dtype == expected.dtype
    assert curve.shape == expected.shape
    assert curve.tobytes() == expected.tobytes() or np.array_equal(curve, expected, equal_nan=True)
    assert end.t == known.t
    for x, y in zip(mg.ad.leaves(end[:3]), mg.ad.leaves(known[:3]), strict=True):
        assert np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True)
    return curve, end


@pytest.mark.parametrize("family", [logistic, minibatches], ids=lambda x: x.__name__)
@pytest.mark.parametrize("rule", RULES)
def test_the_bits_of_the_steps(rule, family, taken):
    task = family(0)
    for _ in range(8):
        alike(task, *RULES[rule])
    assert sum(taken) > (0 if rule == "diverges" else 100)


def test_what_is_looked_at():
    task = logistic(0, validation=logistic(1).function)
    for measure in ("validation", "squared_norm", lambda w: np.abs(w).max(axis=-1)):
        for _ in range(4):
            alike(task, *RULES["GD"], measure=measure)


def test_parts_of_a_run():
    task, (rule, phi) = logistic(0), RULES["schedule"]
    for _ in range(4):
        whole, _ = alike(task, rule, phi, steps=60)
        first, end = mg.rollout(task, rule, phi, steps=25, run=60, with_end=True)
        rest = mg.rollout(task, rule, phi, steps=35, run=60, at=end)
        assert np.concatenate([first[:-1], rest]).tobytes() == whole.tobytes()


def test_new_tasks_and_short_runs():
    for seed in range(6):
        alike(logistic(seed), *RULES["GD"], steps=5)
    task = logistic(0)
    for steps in (0, 1, 2, 5, 5, 5, 5, 5):
        alike(task, *RULES["Adam"], steps=steps)


def test_learned_starts():
    few = mg.LearnedStart(logistic(0))
    for _ in range(4):
        alike(few, GD, mg.Joint(rule=0.05, task=np.array([0.1, 0.2, 0.3])))


def test_data_that_change_between_calls():
    x = numbers(0, 4, 12, 3)
    task = mg.FunctionTask(lambda w: np.mean(np.einsum("bnd,bd->bn", x, w) ** 2, axis=-1), w0=np.ones((4, 3)))
    for _ in range(5):
        alike(task, *RULES["GD"])
        x *= 1.1


def test_code_whose_numbers_change_is_called_at_every_step():
    """What keeps a count is not replayed: the curve is that of the calls."""
    calls = [0]

    def loss(w):
        calls[0] += 1
        return np.sum(w**2, axis=-1) + 0.0 * calls[0]

    task = mg.FunctionTask(loss, w0=np.ones((2, 2)))
    for _ in range(4):
        before = calls[0]
        mg.rollout(task, GD, 0.1, steps=50)
        assert calls[0] - before >= 101


def test_programs_that_differ_from_the_tape_are_found_out(monkeypatch):
    task = logistic(0)
    for _ in range(3):
        expected, _ = alike(task, *RULES["GD"])
    stepped = ReplayStep._check

    def other(self, t, expected, trees):
        stepped(self, t, expected, trees)
        self._routines.step.differs()

    monkeypatch.setattr(ReplayStep, "_check", other)
    monkeypatch.setattr(ReplayStep, "_first", lambda self, t, trees: other(self, t, None, trees))
    found = mg.rollout(task, GD, 0.05, steps=50)
    assert found.tobytes() == expected.tobytes()
    assert replay_rollout._AT_ONCE > 0


def test_a_long_run_is_recorded_at_once_and_formulas_are_not(taken):
    alike(logistic(0), *RULES["GD"], steps=450)
    assert sum(taken) > 300
    taken.clear()
    for _ in range(3):
        alike(mg.random_quadratics(count=2, d=3, seed=0), GD, 0.05, steps=450)
    assert not taken
