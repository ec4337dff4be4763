"""What sympy derives for least squares, against the printed formulas and against the numbers of the theory."""

import numpy as np
import pytest
import sympy as sp

from metagrad.theory import least_squares as ls
from metagrad.theory.least_squares import average_case as ac
from metagrad.theory.least_squares import generalization
from metagrad.theory.least_squares import marchenko_pastur as law
from metagrad.theory.least_squares import proportional_limit as pl
from metagrad.theory.least_squares import symbolic as sym
from metagrad.theory.least_squares import tuned_limit as tl
from metagrad.theory.numbers import filters

C = sym.symbols()
SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2)]


def numbers(n, d, seed=0):
    """The sample of symbols with random values, as arrays and as a substitution."""
    rng = np.random.default_rng([seed, n, d])
    arrays = {name: rng.normal(size=matrix.shape) for name, matrix in sym.sample(n, d).items()}
    at = {x: v for name, matrix in sym.sample(n, d).items() for x, v in zip(matrix, arrays[name].ravel(), strict=True)}
    flat = {name: a if name.startswith("X") else a.ravel() for name, a in arrays.items()}
    return flat, at


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_printed_formulas_are_the_derived_ones(size):
    for name, difference in sym.identities(size).items():
        assert sp.simplify(difference) == 0, name


def test_a_wrong_formula_is_not_zero():
    few, many = sym.interpolation(many_inputs=False), sym.interpolation(many_inputs=True)
    assert sp.simplify(few["R"] - many["R"]) != 0
    assert sp.simplify(sym.unfitted(2)[0] - sym.unfitted(3)[0]) != 0
    assert sp.simplify(sym.averages(2, 1, 2)["ER"] - sym.averages(2, 1, 3)["ER"]) != 0


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_recursion_gives_what_the_closed_forms_give(n, d, steps):
    (p, at), eta = numbers(n, d), 0.4
    derived, reg = sym.descend(n, d, steps), ls.Regression.of(p["X"], p["y"])
    at[C["eta"]] = eta
    w = np.array(derived["w"].subs(at), float).ravel()
    np.testing.assert_allclose(ls.weights(reg, eta, steps), w, rtol=1e-12, atol=1e-14)
    for name, f, more in (
        ("T", ls.train_loss, ()),
        ("dT", ls.d_train_loss, ()),
        ("V", ls.validation_loss, (p["X_val"], p["y_val"])),
        ("dV", ls.d_validation_loss, (p["X_val"], p["y_val"])),
        ("R", ls.risk, (p["w_star"],)),
        ("dR", ls.d_risk, (p["w_star"],)),
    ):
        assert f(reg, *more, eta, steps).to_float() == pytest.approx(float(derived[name].subs(at)), rel=1e-11), name


@pytest.mark.parametrize("eta", [-0.5, 0.3, 2.0, 7.0])
def test_the_filter(eta):
    move = filters.spectral_filter(np.array([0.5, 1.0]), eta, 9, "test")
    for j, s in enumerate((sp.Rational(1, 2), sp.Integer(1))):
        at = {C["s"]: s, C["eta"]: sp.Rational(eta), C["t"]: 9}
        h, slope = (float(x.subs(at)) for x in sym.spectral_filter())
        np.testing.assert_allclose(move.value[j] * np.exp(move.scale), h, rtol=1e-13)
        np.testing.assert_allclose(move.slope[j].to_float(), slope, rtol=1e-13)


@pytest.mark.parametrize(("n", "d", "steps"), [(1, 2, 3), (2, 1, 3), (2, 2, 1)])
def test_the_averages_over_the_targets(n, d, steps):
    p, at = numbers(n, d)
    reg, about = ls.Regression.of(p["X"], p["y"]), {"sigma": 0.7, "signal": 2.0}
    at |= {C["eta"]: 0.3, C["sigma"]: 0.7, C["signal"]: 2.0}
    for name, f, df in (
        ("ET", ac.expected_train_loss, ac.d_expected_train_loss),
        ("ER", ac.expected_risk, ac.d_expected_risk),
    ):
        derived = sym.averages(n, d, steps)[name]
        assert f(reg, 0.3, steps, **about).to_float() == pytest.approx(float(derived.subs(at)), rel=1e-12)
        slope = float(sp.diff(derived, C["eta"]).subs(at))
        assert df(reg, 0.3, steps, **about).to_float() == pytest.approx(slope, rel=1e-11)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 3.0])
def test_moments_and_what_is_not_fitted(gamma):
    nodes, weights = law.rule(gamma, 4)
    for k in range(1, 9):
        derived = float(sym.moment(k).subs(C["gamma"], gamma))
        np.testing.assert_allclose(np.sum(weights * nodes ** (k - 1)), derived, rtol=1e-13)
    for size in (1, 2, 3):
        derived = [float(x.subs(C["gamma"], gamma)) for x in sym.unfitted(size)]
        np.testing.assert_allclose([float(x) for x in law.unfitted(gamma, size)], derived, rtol=1e-13)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_the_curves_of_the_limit(steps):
    derived, about = sym.limit_curves(steps), {"gamma": 0.75, "sigma": 0.5, "signal": 2.0}
    for eta in (-0.25, 0.5, 3.0):
        at = {C[name]: sp.Rational(x) for name, x in about.items()} | {C["eta"]: sp.Rational(eta)}
        for name, f in (("R", pl.risk), ("T", pl.train_loss), ("dR", pl.d_risk), ("dT", pl.d_train_loss)):
            assert f(eta, steps, **about).to_float() == pytest.approx(float(derived[name].subs(at)), rel=1e-12), name


@pytest.mark.parametrize("gamma", [0.4, 2.5])
def test_where_train_by_train_ends(gamma):
    derived = sym.interpolation(many_inputs=gamma > 1)
    at = {C["gamma"]: gamma, C["sigma"]: 0.7, C["signal"]: 2.0}
    eta, risk, train = (float(derived[name].subs(at)) for name in ("eta", "R", "T"))
    np.testing.assert_allclose(generalization.interpolation_step_size(gamma), eta, rtol=1e-14)
    np.testing.assert_allclose(generalization.interpolation_risk(gamma, sigma=0.7, signal=2.0), risk, rtol=1e-14)
    at_the_end = {"gamma": gamma, "sigma": 0.7, "signal": 2.0}
    np.testing.assert_allclose(
        pl.train_loss(eta, 3000, **at_the_end).to_float(ieee=True), train, rtol=1e-12, atol=1e-99
    )


@pytest.mark.parametrize(("steps", "width"), [(3, 10.0), (10, 0.3), (200, 0.3)])
def test_the_boundary_for_much_noise(steps, width):
    """2 sigma^2 + c_t is off by O(1/sigma^2)."""
    leading, correction = sym.large_noise_boundary()
    for sigma in (5.0, 20.0):
        r = float(leading.subs(C["sigma"], sigma) + correction.subs(C["t"], steps))
        np.testing.assert_allclose(generalization.large_noise_boundary(steps, sigma=sigma), r, rtol=1e-13)
        before, after = tl.advantage(steps, ratio=r + np.array([-1, 1]) * width / sigma**2, sigma=sigma)
        assert before > 0 > after
    assert sp.limit(correction, C["t"], sp.oo).evalf() == pytest.approx(4 * np.log(2) * (1 - np.log(2)))


def test_two_steps_do_not_interpolate():
    """Train-by-train keeps a residual of the order gamma, and the boundary is 4 below."""
    r = float(sym.large_noise_boundary()[1].subs(C["t"], 2)) + 2 * 20.0**2
    assert tl.advantage(2, ratio=r - 3, sigma=20.0) < 0 < tl.advantage(2, ratio=r - 5, sigma=20.0)


def test_the_risks_for_much_noise():
    """On the boundary the simple R_TbV is low by about 0.29/sigma^2, relative; R_TbT is right to rounding."""
    tbt, tbv = sym.large_noise_risks()
    for sigma in (2.0, 5.0, 20.0):
        at = {C["sigma"]: sigma, C["r"]: 2 * sigma**2}
        about = {"ratio": 2 * sigma**2, "sigma": sigma}
        np.testing.assert_allclose(tl.risk_tbt(200, **about), float(tbt.subs(at)), rtol=1e-13)
        low = 1 - float(tbv.subs(at)) / tl.risk_tbv(200, **about)
        assert 0.2 < low * sigma**2 < 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sym.sample(0, 1), "n, d, m is"),
        (lambda: sym.moment(-1), "k is -1"),
        (lambda: generalization.large_noise_boundary(2, sigma=5.0), "steps is 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
