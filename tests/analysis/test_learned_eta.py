"""How the minimiser tends to its limit: order and constant hold at every seed, where the spectrum says so."""

import numpy as np
import pytest

from analysis import learned_eta
from metagrad.theory import quadratic

CONFIG = learned_eta.presets["quick"]


@pytest.mark.parametrize("seed", range(12))
def test_order_and_constant_are_those_of_the_two_extreme_eigenvalues_at_every_seed(seed):
    spectrum, _ = learned_eta._tasks(CONFIG, seed)
    found = learned_eta._limit(CONFIG, spectrum)
    gap, n = found["far_gap"], 2 * found["far"] - 1
    np.testing.assert_allclose(-np.log(gap[1] / gap[0]) / np.log(n[1] / n[0]), 1, atol=2 * CONFIG.small)
    np.testing.assert_allclose(n[0] * gap[0], found["constant"], rtol=2 * CONFIG.small)


def test_far_horizons_wait_for_the_eigenvalues_between():
    alone, crowded = ([0.1, 0.5, 1.0], [0.1, 0.1001, 1.0])
    spectra = [quadratic.Spectrum.diagonal([lam], [[1.0, 1.0, 1.0]]) for lam in (alone, crowded)]
    early, late = (int(learned_eta.far_horizons(spectrum, 0.5)[0]) for spectrum in spectra)
    assert early < 50
    assert late > 10_000


def test_far_horizons_wait_for_the_next_order():
    spectrum = quadratic.Spectrum.diagonal([[0.1, 0.5, 1.0]], [[1.0, 1.0, 1.0]])
    for small in (0.1, 0.01, 0.001):
        t = learned_eta.far_horizons(spectrum, small)
        ratio = (quadratic.minimiser(spectrum, t) / quadratic.limit_minimiser(spectrum) - 1) / (
            quadratic.first_correction(spectrum, t) / quadratic.limit_minimiser(spectrum)
        )
        assert abs(ratio[0] - 1) < 1.2 * small
        assert abs(ratio[0] - 1) > 0.2 * small
