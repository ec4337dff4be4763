"""A run without a number says which function made the first NaN or inf, of which numbers, and at which step."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.ad import blame
from metagrad.unroll import unroll as driver

C = np.array([1.0, -2.0])
METHODS = ("reverse", "forward")


class Own(mg.GradientDescent):
    """Gradient descent with a step of one's own."""

    def __init__(self, move):
        object.__setattr__(self, "move", move)

    def step(self, phi, state, w, f):
        return self.move(phi.eta, w, f), state


def found(loss, w0, method, *, eta=0.1, steps=6, objective=None, rule=None):
    with np.errstate(all="ignore"):
        task = mg.FunctionTask(loss, w0=np.array(w0))
        return mg.meta_gradient(
            task, rule or mg.GradientDescent(), objective or mg.Final(), eta, steps=steps, method=method
        )


def squares(w):
    return np.sum((w - C) ** 2, axis=-1)


@pytest.mark.parametrize("method", METHODS)
class TestForwards:
    def test_a_root_of_a_negative_number(self, method):
        # task 1: 3.75, sqrt(2.25), 0, sqrt(-1.5)
        rule = Own(lambda eta, w, f: np.sqrt(w - 1.5) + 0 * eta * f.gradient(w))
        result = found(squares, [[40.0, 40.0], [40.0, 3.75]], method, rule=rule, steps=3)
        assert result.status.tolist() == [0, mg.Status.STATE_NAN.code]
        assert result.notes == ("Task 1: numpy.sqrt made the first NaN, of -1.5, at step 3.",)
        assert "numpy.sqrt made the first NaN" in result.report()

    def test_a_division_by_zero_in_the_loss(self, method):
        result = found(lambda w: np.sum(1 / (w - 1.0) ** 2, axis=-1), [[1.5, 2.0], [3.0, 1.0]], method)
        assert result.notes == ("Task 1: numpy.divide made the first inf, of 1, 0, at step 1.",)

    def test_the_derivative_of_a_norm_at_zero(self, method):
        result = found(lambda w: np.linalg.norm(w, axis=-1) + squares(w), [[1.0, 1.0], [0.0, 0.0]], method)
        assert result.status[1] == mg.Status.STATE_NAN.code
        assert result.notes == ("Task 1: the derivative of numpy.sqrt made the first inf, at 0, at step 1.",)

    def test_data_that_are_no_numbers(self, method):
        data = np.array([[1.0, 2.0], [1.0, np.nan]])
        result = found(lambda w: np.sum((w * data - C) ** 2, axis=-1), np.ones((2, 2)), method)
        assert result.notes == ("Task 1: numpy.multiply was given NaN, in 1, nan, at step 1.",)
        result = found(lambda w: np.sum((w @ data) ** 2, axis=-1), np.ones((1, 2)), method)
        assert result.notes[0].startswith("Task 0: numpy.matmul was given NaN, at step 1")

    def test_an_overflow(self, method):
        result = found(lambda w: squares(w) ** 3, [[1.5, 1.0]], method, eta=3.0, steps=10)
        assert result.status[0] == mg.Status.STATE_OVERFLOW.code
        at = int(result.status_step[0])
        assert result.notes[0].startswith("Task 0: the derivative of numpy.power made the first inf, at ")
        assert result.notes[0].endswith(f", 3, at step {at}.")

    def test_a_measure(self, method):
        # the loss is nowhere NaN where the steps are taken: it is the objective's logarithm that is asked in vain
        result = found(lambda w: np.sum(np.log(w - 0.75), axis=-1), [[0.8, 0.8]], method, eta=0.01, steps=1)
        assert result.status[0] == mg.Status.OBJECTIVE_NAN.code
        assert len(result.notes) == 1
        assert result.notes[0].startswith("Task 0: numpy.log made the first NaN, of -")
        assert result.notes[0].endswith("at step 1.")

    def test_one_note_for_each_kind_of_trouble(self, method):
        rule = Own(lambda eta, w, f: np.sqrt(w - 1.5) + 0 * eta * f.gradient(w))
        result = found(squares, [[5.25, 3.75], [1.0, 1.0], [1.0, 3.0]], method, rule=rule, steps=4)
        assert result.notes == ("Task 1: numpy.sqrt made the first NaN, of -0.5, at step 1.",)


def test_the_step_is_that_of_the_run():
    rule = Own(lambda eta, w, f: np.sqrt(w - 1.5) + 0 * eta * f.gradient(w))
    task = mg.FunctionTask(squares, w0=np.array([[40.0, 3.75]]))
    first = mg.Reverse()(task, rule, mg.Final(), mg.GradientDescent.Phi(0.1), steps=1)
    with np.errstate(all="ignore"):
        later = mg.Reverse()(task, rule, mg.Final(), mg.GradientDescent.Phi(0.1), steps=3, at=first.end)
    assert later.notes == ("Task 0: numpy.sqrt made the first NaN, of -1.5, at step 3.",)


def test_the_way_back():
    rule = Own(lambda eta, w, f: w - eta * f.gradient(w) * np.sqrt(np.abs(w)))
    result = found(squares, [[1.5, 1.0], [0.0, 0.5]], "reverse", rule=rule, steps=5)
    assert result.status.tolist() == [0, mg.Status.ADJOINT_NAN.code]
    assert result.notes == ("Task 1: the derivative of numpy.sqrt made the first inf, at 0, at step 4.",)


def test_a_meta_parameter_at_the_edge():
    rule = Own(lambda eta, w, f: w - np.sqrt(eta) * f.gradient(w))
    task = mg.FunctionTask(squares, w0=np.array([[1.5, 1.0]]))
    result = mg.Reverse()(task, rule, mg.Final(), mg.GradientDescent.Phi(0.0), steps=6)
    assert not result.ok
    assert any("the derivative of numpy.sqrt made the first inf, at 0" in note for note in result.notes)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_well_is_not_made_again(method, monkeypatch):
    steps = []
    take = driver.Unroll.advance
    monkeypatch.setattr(driver.Unroll, "advance", lambda self, *a: steps.append(a[2:]) or take(self, *a))
    result = found(squares, [[1.5, 1.0]], method)
    assert result.ok
    assert result.notes == ()
    assert sum(hi - lo for lo, hi in steps) == 6


def test_a_replay_takes_no_more_steps_than_the_run(monkeypatch):
    rule = Own(lambda eta, w, f: np.sqrt(w - 1.5) + 0 * eta * f.gradient(w))
    steps = []
    take = driver.Unroll.advance
    monkeypatch.setattr(driver.Unroll, "advance", lambda self, *a: steps.append(a[3] - a[2]) or take(self, *a))
    found(squares, [[5.25, 3.75], [1.0, 1.0]], "reverse", rule=rule, steps=8)
    assert sum(steps) <= 2 * 8


def test_what_was_recorded_tells_without_an_unroll():
    with np.errstate(all="ignore"):
        _, pullback = ad.vjp(lambda x: np.log(x - 1.0) * 0.0 + x, np.array([2.0, 0.5]))
    culprit = blame.in_value(pullback)
    assert culprit == blame.Culprit("numpy.log", "NaN", (-0.5,))
    assert blame.in_value(pullback, task=0, batch=2) is None
    assert str(culprit) == "numpy.log made the first NaN, of -0.5"
    _, pullback = ad.vjp(lambda x: np.sqrt(x) + 1.0, np.array([4.0, 0.0]))
    assert blame.in_pullback(pullback, np.array([1.0, 0.0])) is None
    culprit = blame.in_pullback(pullback, np.ones(2))
    assert str(culprit) == "the derivative of numpy.sqrt made the first inf, at 0"
    assert blame.in_pullback(pullback, np.ones(2), task=0, batch=2) is None
