"""The recursion in place against the recursion as it is written: same measures at any size."""

from __future__ import annotations

import numpy as np
import pytest

from metagrad.theory import sgd
from metagrad.theory.sgd import stepping
from metagrad.theory.sgd.recursion import Recursion, stacked, trajectory

KINDS = {
    "noisy": {"n": 9, "d": 4},
    "fewer samples than columns": {"n": 3, "d": 5},
    "weak directions": {"n": 7, "d": 4, "columns": (1.0, 1e-3, 1.0, 1e-4)},
    "no spread": {"n": 6, "d": 3, "b": 6, "replacement": False},
    "no noise": {"n": 8, "d": 3, "noise": 0.0},
}


def problem_of(kind, seed):
    given = {"b": 2, "replacement": True, "columns": 1.0, "noise": 1.0} | KINDS[kind]
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    X = rng.standard_normal((given["n"], given["d"])) * given["columns"]
    y = X @ rng.standard_normal(given["d"]) + given["noise"] * rng.standard_normal(given["n"])
    w0 = rng.standard_normal(given["d"])
    return sgd.SgdProblem(X, y, w0, batch_size=given["b"], replacement=given["replacement"]), rng


def as_written(problem, measures, schedules, *, tangent):
    history = [
        [now.measure(which) for which in measures] for now in trajectory(Recursion(problem), schedules, tangent=tangent)
    ]
    return [[stacked([row[i][order] for row in history]) for order in range(1 + tangent)] for i in range(len(measures))]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("tangent", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_recursion_as_it_is_written(kind, tangent, seed, monkeypatch):
    monkeypatch.setattr(stepping, "_BLOCK", 60)  # several blocks of samples, the last one smaller
    monkeypatch.setattr(stepping, "_TOGETHER", 40)  # not all runs together
    problem, rng = problem_of(kind, seed)
    measures = [sgd.train_measure(problem), sgd.risk_measure(problem, rng.standard_normal(problem.X.shape[1]))]
    schedules = rng.uniform(0.01, 0.3, (5, 12))
    schedules[0] = 0.1
    found = stepping.follow(Recursion(problem), measures, schedules, tangent=tangent)
    for ours, theirs in zip(found, as_written(problem, measures, schedules, tangent=tangent), strict=True):
        for order, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            slack = 1e-11 * (1 if order == 0 else np.max(np.abs(other.to_float())))
            np.testing.assert_allclose(mine.to_float(), other.to_float(), rtol=1e-11, atol=slack * order)


@pytest.mark.parametrize("eta", [1e-30, 1e-3, 0.4, 1e3, 1e25])
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_moved_into_the_exponents_in_time(kind, eta):
    problem, _ = problem_of(kind, 3)
    schedules = np.full((1, 300), eta)
    ((value, slope),) = stepping.follow(Recursion(problem), [sgd.train_measure(problem)], schedules, tangent=True)
    ((other, tilt),) = as_written(problem, [sgd.train_measure(problem)], schedules, tangent=True)
    np.testing.assert_allclose(value.log, other.log, rtol=1e-11, atol=1e-10)
    if eta >= 1e3:
        np.testing.assert_allclose(slope.log[:, 1:], tilt.log[:, 1:], rtol=1e-11, atol=1e-9)
    else:  # slopes that pass through zero have no relative accuracy
        most = np.max(np.abs(tilt.to_float(ieee=True)))
        np.testing.assert_allclose(slope.to_float(ieee=True), tilt.to_float(ieee=True), rtol=1e-10, atol=1e-10 * most)


def test_a_wrong_weight_of_the_spread_is_caught():
    problem, _ = problem_of("noisy", 0)
    recursion = Recursion(problem)
    recursion.spread *= 1.01
    schedules = np.full((1, 10), 0.2)
    ((found,),) = stepping.follow(recursion, [sgd.train_measure(problem)], schedules, tangent=False)
    ((right,),) = as_written(problem, [sgd.train_measure(problem)], schedules, tangent=False)
    assert np.max(np.abs(found.log - right.log)) > 1e-4
