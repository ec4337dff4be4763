"""The benchmark of schedules at tiny sizes: theory and plain NumPy compute the same numbers."""

import numpy as np
import pytest

from benchmarks import registry, schedules

TINY = schedules.Case(n=14, d=6, steps=9, far=50, seed=3)


@pytest.mark.parametrize("rows", [schedules.gradient_rows, schedules.best_rows, schedules.momentum_rows])
def test_every_row_agrees_with_what_it_is_compared_with(rows):
    found = rows(TINY, repetitions=1)
    assert all(row.agreement is not None and row.agrees for row in found)


def test_reverse_mode_by_hand_is_the_slope_of_the_rollout():
    X, w_star, schedule = schedules.sample(TINY)
    H, step = X.T @ X / TINY.n, 1e-6
    found = schedules.reverse_mode(H, w_star, schedule)
    for k in range(TINY.steps):
        moved = [schedules.rollout(X, w_star, schedule + sign * step * np.eye(TINY.steps)[k]) for sign in (1, -1)]
        assert found[k] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)
    assert schedules.rollout_of_matrix(H, w_star, schedule) == pytest.approx(schedules.rollout(X, w_star, schedule))


def test_a_gradient_of_another_schedule_does_not_agree(monkeypatch):
    exact = schedules.reverse_mode
    monkeypatch.setattr(schedules, "reverse_mode", lambda H, w, etas: exact(H, w, etas[::-1]))
    assert not any(row.agrees for row in schedules.gradient_rows(TINY, repetitions=1))


def test_the_sizes_are_those_of_the_targets():
    case = schedules.Case()
    assert (case.n, case.d, case.steps, case.far) == (2000, 1000, 1000, 10**6)
    assert "schedules" in registry.NAMES
