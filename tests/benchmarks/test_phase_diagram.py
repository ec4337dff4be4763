"""The phase diagram at a tiny size: theory and the quadrature that knows nothing of it reach the same risks."""

import numpy as np
import pytest

from benchmarks import phase_diagram, phase_recipe
from benchmarks.settings import Settings


def test_the_rows_agree(monkeypatch):
    # The boundary takes seconds whatever the number of sigmas.
    monkeypatch.setattr(phase_diagram, "_boundary", lambda sigmas: [])
    rows = phase_diagram.compare((np.array([0.3, 2.01]), np.array([0.5, 3.0])), Settings(repetitions=1))
    assert [row.agrees for row in rows] == [True, True, True]
    assert rows[0].agreement is not None
    assert sum(row.target is not None for row in rows) == 2


@pytest.mark.parametrize("gamma", [0.4, 2.5])
def test_the_recipes_law_has_the_right_moments(gamma):
    # One step of size eta: int (1 - eta s)^2 = 1 - 2 eta + eta^2 (1 + gamma), eigenvalues 0 included.
    _, _, risk = phase_recipe._curves(1, gamma, 0.0)
    eta = np.array([0.1, 0.7])
    assert risk(eta) == pytest.approx(1 - 2 * eta + eta**2 * (1 + gamma), rel=1e-12)
