"""Where plain arithmetic breaks down, predicted and measured in each float type."""

import ml_dtypes
import numpy as np
import pytest

from metagrad.theory import quadratic as q
from metagrad.theory.quadratic import Spectrum, horizons

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
EXPANDING = ([1.0, 0.5], 2.75)
CONTRACTING = ([1.0, 0.5], 0.5)


@pytest.mark.parametrize("name", DTYPES)
def test_the_ranges_are_those_of_the_types(name):
    info, number = ml_dtypes.finfo(DTYPES[name]), horizons.RANGES[name]
    got = (number.max, number.tiny, number.smallest_subnormal, number.eps)
    assert got == tuple(float(x) for x in (info.max, info.tiny, info.smallest_subnormal, info.eps))


def backpropagate(eigenvalues, eta, steps, dtype):
    """Plain gradient descent and backpropagation in one float type: w_t, F, F', G'; every intermediate rounded."""
    h, eta = np.array(eigenvalues, dtype), dtype(eta)
    w = np.ones(len(eigenvalues), dtype)
    states = [w]
    for _ in range(steps):
        w = w - eta * (h * w)
        states.append(w)
    F = np.sum(w * (h * w)) * dtype(0.5)
    of_F, of_G = h * w, h * w / (dtype(steps) * F)
    dF = dG = dtype(0)
    for state in reversed(states[:-1]):
        dF, dG = dF - np.sum(of_F * (h * state)), dG - np.sum(of_G * (h * state))
        of_F, of_G = of_F - eta * (h * of_F), of_G - eta * (h * of_G)
    return {"state": np.max(np.abs(w)), "F": F, "dF": dF, "dG": dG}


def broken(eigenvalues, eta, steps, name):
    """Which of the results are 0, not finite, or off by more than a tenth beyond the rounding of t steps."""
    spectrum, number = Spectrum(eigenvalues, np.ones(len(eigenvalues))), horizons.RANGES[name]
    with np.errstate(all="ignore"):
        got = backpropagate(eigenvalues, eta, steps, DTYPES[name])
        logs = {key: float(np.log(np.abs(np.float64(value)))) for key, value in got.items()}
    a = 1 - eta * np.array(eigenvalues)
    exact = {
        "state": steps * np.log(np.max(np.abs(a))),
        "F": float(q.objective(spectrum, eta, steps).log),
        "dF": float(q.d_objective(spectrum, eta, steps).log),
        "dG": np.log(np.abs(float(q.d_log_objective(spectrum, eta, steps)))),
    }
    return {key for key in got if not abs(logs[key] - exact[key]) < 0.1 + steps * number.eps}


def predictions(eigenvalues, eta, name):
    at = (Spectrum(eigenvalues, np.ones(len(eigenvalues))), eta, horizons.RANGES[name])
    return {
        "state": horizons.state_horizon(*at),
        "F": horizons.loss_horizon(*at),
        "dF": horizons.gradient_horizon(*at),
        "dG": horizons.log_gradient_horizon(*at),
    }


@pytest.mark.parametrize("name", DTYPES)
def test_an_overflow_comes_at_the_predicted_step(name):
    predicted = {key: int(horizon.earliest) for key, horizon in predictions(*EXPANDING, name).items()}
    for key, horizon in predictions(*EXPANDING, name).items():
        assert horizon.earliest == horizon.latest
        early = 2 if key in ("state", "F") or name == "bfloat16" else 1
        assert key not in broken(*EXPANDING, predicted[key] - early, name), key
        assert key in broken(*EXPANDING, predicted[key], name), key


def test_the_predicted_overflows_are_these():
    at = {name: predictions(*EXPANDING, name) for name in ("float16", "float32", "float64")}
    assert [int(each["dF"].earliest) for each in at.values()] == [9, 76, 629]
    assert [int(each["dG"].earliest) for each in at.values()] == [9, 77, 630]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("problem", [CONTRACTING, ([2.0, 1.0], 0.375)])
def test_an_underflow_comes_within_the_predicted_interval(name, problem):
    for key, horizon in predictions(*problem, name).items():
        if key == "state":
            continue  # the spurious floor keeps it from reaching 0: see the test of the floor
        intact, gone = int(np.ceil(horizon.earliest)) - 1, int(np.ceil(horizon.latest))
        assert horizon.latest - horizon.earliest > 3
        assert key not in broken(*problem, intact, name), key
        assert key in broken(*problem, gone, name), key


@pytest.mark.parametrize("name", DTYPES)
def test_what_comes_out_past_the_horizon_of_the_log_objective(name):
    with np.errstate(all="ignore"):
        for problem, is_silent in ((EXPANDING, True), (CONTRACTING, False)):
            steps = int(np.ceil(predictions(*problem, name)["dG"].latest))
            slope = float(backpropagate(*problem, steps, DTYPES[name])["dG"])
            assert (slope == 0.0) if is_silent else np.isnan(slope)


@pytest.mark.parametrize("name", DTYPES)
def test_the_state_stays_intact_until_its_horizon(name):
    earliest = predictions(*CONTRACTING, name)["state"].earliest
    assert "state" not in broken(*CONTRACTING, int(np.ceil(earliest)) - 1, name)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("step", [1 / 32, 1 / 16, 0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 1.875])
def test_the_stagnation_floor(name, step):
    number, dtype = horizons.RANGES[name], DTYPES[name]
    w = dtype(number.tiny)
    for _ in range(800 if number.eps > 1e-3 else int(800 - np.log2(number.eps) * 40)):
        w = w - dtype(step) * w
    assert float(abs(w)) == float(horizons.stagnation_floor(step, number))


def test_the_stagnation_floor_outside_of_its_range():
    got = horizons.stagnation_floor([0.0, 2.0, -0.5, 3.0], horizons.FLOAT32)
    assert np.all(np.isnan(got))


def test_the_adjoint_of_the_log_objective_overflows_about_twice_as_late_as_the_loss_underflows():
    spectrum, number = Spectrum([1.0], [4.0]), horizons.FLOAT32
    t = int(horizons.log_adjoint_horizon(spectrum, 0.5, number))

    def size(steps):
        return 2 / (steps * 2.0 * 0.5**steps)

    assert size(t) >= number.max > size(t - 1)
    assert t == pytest.approx(2 * float(horizons.loss_horizon(spectrum, 0.5, number).earliest), rel=0.15)
    assert np.isinf(horizons.log_adjoint_horizon(spectrum, 3.0, number))


def test_shapes_and_problems_that_never_leave_the_range():
    spectrum = Spectrum(np.array([[1.0, 2.0]]), np.ones((1, 2)))
    horizon = horizons.state_horizon(spectrum, np.array([[0.1], [0.5], [1.0], [2.0]]), horizons.FLOAT16)
    assert horizon.earliest.shape == (4, 1)
    assert np.isinf(horizon.earliest[2, 0])  # |1 - eta L| = 1
    assert horizon.earliest[3, 0] == horizon.latest[3, 0]
    solved = horizons.loss_horizon(Spectrum([2.0], [1.0]), 0.5, horizons.FLOAT16)
    assert float(solved.latest) == 0.0  # the first step already gives exactly 0
