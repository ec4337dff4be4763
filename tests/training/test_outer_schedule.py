"""An outer rule that follows a schedule: it knows how long the outer run is."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.protocols import Estimate
from metagrad.scaled import Scaled

RULE = mg.Following(mg.GradientDescent(), eta=mg.Polynomial())
PHI = RULE.Phi(eta_start=0.5, eta_end=0.0, eta_power=1.0)


def test_the_step_falls_in_a_straight_line():
    outer, phi = mg.Through(RULE, PHI, steps=4), np.zeros(1)
    state = outer.init(phi)
    found = Estimate(Scaled.of(np.ones(1)), Scaled.of(np.ones(1)), np.zeros(1), np.zeros(1))
    path = []
    for k in range(1, 5):
        phi, state, report = outer.step(phi, state, found, k)
        path.append(float(phi[0]))
        assert report.finite
    np.testing.assert_allclose(path, -np.cumsum([0.5, 0.375, 0.25, 0.125]), rtol=1e-15)


def test_without_the_length_of_the_run_it_cannot_know():
    outer, phi = mg.Through(RULE, PHI), np.zeros(1)
    found = Estimate(Scaled.of(np.ones(1)), Scaled.of(np.ones(1)), np.zeros(1), np.zeros(1))
    with pytest.raises(TypeError, match="horizon"):
        outer.step(phi, outer.init(phi), found, 2)


def test_the_length_is_a_count():
    with pytest.raises(ValueError, match="steps is 0"):
        mg.Through(RULE, PHI, steps=0)
