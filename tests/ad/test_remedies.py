"""The remedies give what the functions that they stand for give, and can be differentiated."""

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.spatial
import scipy.stats
from scipy import special

from metagrad import ad
from metagrad.ad import densities
from metagrad.ad.table import FUNCTIONS, load_late
from metagrad.xp import rng

load_late()  # the families that import SciPy
A = np.array([[2.0, 0.5, 0.1], [0.3, 1.5, 0.2], [0.1, 0.4, 1.8]])
T = np.arange(3.0)
Z = np.zeros(3)
STREAM = np.random.default_rng(0)
X = np.array([1.1, 0.6, 0.3])


def needs(*functions):
    """What a remedy is written with is in the table."""
    assert [f.__name__ for f in functions if f not in FUNCTIONS] == []


def test_the_remedy_for_nnls():
    b = np.array([1.0, -0.5, 2.0])

    def nnls(b):
        s = scipy.optimize.nnls(A, ad.stop_gradient(b))[0] > 0
        return np.linalg.solve(A[:, s].T @ A[:, s], A[:, s].T @ b)

    full = scipy.optimize.nnls(A, b)[0]
    np.testing.assert_allclose(nnls(b), full[full > 0], rtol=1e-12)
    assert 0 < np.sum(full > 0) < 3
    needs(np.linalg.solve)
    ad.check_gradients(nnls, (b,))


def test_the_remedy_for_roots():
    def root(x, steps=2):
        held = ad.stop_gradient(x)
        r = scipy.optimize.brentq(lambda r: r**3 + held * r - 1.0, 0.0, 2.0, xtol=1e-15)
        for _ in range(steps):
            r = r - (r**3 + x * r - 1.0) / (3 * r**2 + x)
        return r

    ad.check_gradients(root, (0.7,))
    exact = lambda r, x: -r / (3 * r**2 + x)  # noqa: E731
    assert abs(ad.grad(lambda x: root(x, 1))(0.7) - exact(root(0.7), 0.7)) < 1e-14


def test_the_remedy_for_assignments():
    costs = rng(0).standard_normal((4, 4))

    def cost(C):
        i, j = scipy.optimize.linear_sum_assignment(ad.stop_gradient(C))
        return C[i, j].sum()

    assert ad.grad(cost)(costs).sum() == 4.0


def test_remedies_that_are_formulas():
    x, y, p = T + 0.1 * T**2, X, np.array([0.2, 0.7, 0.6])
    odd, h = np.exp(np.linspace(0, 1, 7)), 1 / 6
    s, weights = np.polynomial.legendre.leggauss(50)
    i, j = np.triu_indices(3, 1)
    n = np.arange(3)
    spline = scipy.interpolate.CubicSpline(x, np.eye(3))(0.7)
    line = scipy.interpolate.interp1d(x, np.eye(3), axis=0)(0.7)
    a, b = x - np.mean(x), y - np.mean(y)
    share = y / np.sum(y)
    D = scipy.fft.dct(np.eye(3), axis=0)
    F = scipy.signal.lfilter([1.0], [1.0, 0.5], np.eye(3), axis=0)
    for found, expected in (
        (np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)), scipy.integrate.trapezoid(y, x)),
        (np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x)), scipy.integrate.cumulative_trapezoid(y, x)),
        (h / 3 * np.sum(odd[:-2:2] + 4 * odd[1:-1:2] + odd[2::2]), scipy.integrate.simpson(odd, dx=h)),
        (np.sum(weights * np.exp(s)), scipy.integrate.quad(np.exp, -1, 1)[0]),
        (spline @ y, scipy.interpolate.CubicSpline(x, y)(0.7)),
        (line @ y, scipy.interpolate.interp1d(x, y)(0.7)),
        (D @ y, scipy.fft.dct(y)),
        (F @ y, scipy.signal.lfilter([1.0], [1.0, 0.5], y)),
        (np.sqrt(np.sum((A[:, None] - A[None]) ** 2, axis=-1)), scipy.spatial.distance.cdist(A, A)),
        (np.sqrt(np.sum((A[i] - A[j]) ** 2, axis=-1)), scipy.spatial.distance.pdist(A)),
        ((y - np.mean(y)) / np.std(y), scipy.stats.zscore(y)),
        (-np.sum(share * np.log(share)), scipy.stats.entropy(y)),
        (np.sum(a * b) / np.sqrt(a @ a * (b @ b)), scipy.stats.pearsonr(x, y)[0]),
        (np.exp(np.mean(np.log(y))), scipy.stats.gmean(y)),
        (np.mean(np.abs(np.sort(x) - np.sort(y))), scipy.stats.wasserstein_distance(x, y)),
        (-np.mean(n % 2 * np.log(p) + (1 - n % 2) * np.log(1 - p)), log_loss(n % 2, p)),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-11)


def log_loss(y, p):
    return np.mean([-np.log(q) if t else -np.log1p(-q) for t, q in zip(y, p, strict=True)])


def test_the_remedies_for_scores():
    metrics = pytest.importorskip("sklearn.metrics")
    y, p = np.array([0.5, 2.0, 1.0]), X
    for found, score in (
        (np.mean((y - p) ** 2), metrics.mean_squared_error),
        (np.mean(np.abs(y - p)), metrics.mean_absolute_error),
        (np.mean((np.log1p(y) - np.log1p(p)) ** 2), metrics.mean_squared_log_error),
        (1 - np.sum((y - p) ** 2) / np.sum((y - np.mean(y)) ** 2), metrics.r2_score),
    ):
        np.testing.assert_allclose(found, score(y, p), rtol=1e-14)
    signs = np.array([1, -1, 1])
    np.testing.assert_allclose(np.mean(np.maximum(0.0, 1 - signs * p)), metrics.hinge_loss(signs, p))
    kernel = np.exp(-0.3 * np.sum((A[:, None] - A[None]) ** 2, axis=-1))
    np.testing.assert_allclose(kernel, metrics.pairwise.rbf_kernel(A, A, gamma=0.3), rtol=1e-13)


# The formulas of densities give what scipy.stats gives.

SHAPES = {
    "gamma": {"a": 2.5},
    "beta": {"a": 2.5, "b": 1.7},
    "t": {"df": 3.5},
    "lognorm": {"s": 0.7},
    "chi2": {"df": 3.5},
    "pareto": {"b": 2.5},
    "weibull_min": {"c": 1.7},
}
GRIDS = {"beta": np.linspace(0.05, 0.95, 7), "uniform": np.linspace(0.05, 0.95, 7), "pareto": np.linspace(1.1, 5, 7)}
REAL = ("norm", "t", "laplace", "logistic", "cauchy", "gumbel_r")
METHODS = ("logpdf", "pdf", "cdf", "logcdf", "sf", "logsf", "ppf")
CONTINUOUS = [(d, m) for d in densities.STANDARD for m in METHODS if densities.formula(d, m) is not None]
COUNTS = {
    "poisson": {"mu": 2.5},
    "bernoulli": {"p": 0.3},
    "binom": {"n": 5, "p": 0.3},
    "geom": {"p": 0.3},
    "nbinom": {"n": 2.5, "p": 0.3},
}
DISCRETE = [(d, m) for d in COUNTS for m in ("logpmf", "pmf", "cdf", "sf", "logsf") if densities.formula(d, m)]


def evaluated(text, **names):
    return eval(text, {"np": np, "special": special, **names})


@pytest.mark.parametrize(("distribution", "method"), CONTINUOUS)
@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (0.4, 1.7)])
def test_formulas_of_continuous_distributions(distribution, method, loc, scale):
    z = GRIDS.get(distribution, np.linspace(-2.9, 3.2, 7) if distribution in REAL else np.linspace(0.1, 4.0, 7))
    shapes = SHAPES.get(distribution, {})
    x = np.linspace(0.05, 0.95, 7) if method == "ppf" else loc + scale * z
    expected = getattr(getattr(scipy.stats, distribution), method)(x, **shapes, loc=loc, scale=scale)
    text = densities.formula(distribution, method)
    at = {"q": x} if method == "ppf" else {"z": (x - loc) / scale, "x": x}
    found = evaluated(text, **at, **shapes, loc=loc, scale=scale)
    np.testing.assert_allclose(found + 0 * x, expected, rtol=1e-11, atol=1e-14)
    is_traced = all(getattr(special, n) in FUNCTIONS for n in dir(special) if f"special.{n}(" in text)
    if is_traced and distribution != "uniform" and method != "ppf":
        ad.check_gradients(lambda z: evaluated(text, z=z, **shapes, loc=loc, scale=scale), (at["z"][2:5],))


@pytest.mark.parametrize(("distribution", "method"), DISCRETE)
def test_formulas_of_counts(distribution, method):
    k = np.arange(2) if distribution == "bernoulli" else np.arange(1, 6)
    expected = getattr(getattr(scipy.stats, distribution), method)(k, **COUNTS[distribution])
    found = evaluated(densities.formula(distribution, method), k=k, **COUNTS[distribution])
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_formulas_of_vectors():
    cov, mean = A @ A.T, X
    for x in (np.array([0.3, -1.0, 2.0]), rng(0).standard_normal((5, 3))):
        for method in ("logpdf", "pdf"):
            found = evaluated(densities.formula("multivariate_normal", method), x=x, mean=mean, cov=cov)
            expected = getattr(scipy.stats.multivariate_normal, method)(x, mean, cov)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    alpha, share, p, counts = np.array([1.5, 2.0, 0.7]), np.array([0.2, 0.5, 0.3]), np.array([0.1, 0.3, 0.6]), [1, 0, 3]
    for method in ("logpdf", "pdf"):
        found = evaluated(densities.formula("dirichlet", method), x=share, alpha=alpha)
        np.testing.assert_allclose(found, getattr(scipy.stats.dirichlet, method)(share, alpha), rtol=1e-12)
    for method in ("logpmf", "pmf"):
        found = evaluated(densities.formula("multinomial", method), x=np.array(counts), n=4, p=p)
        np.testing.assert_allclose(found, getattr(scipy.stats.multinomial, method)(counts, 4, p), rtol=1e-12)


def test_every_distribution_that_was_asked_for_has_a_formula():
    for distribution in (
        *("norm", "expon", "gamma", "beta", "t", "laplace", "lognorm", "logistic", "uniform", "cauchy", "chi2"),
        *("halfnorm", "pareto", "weibull_min", "gumbel_r", "dirichlet", "multivariate_normal"),
    ):
        assert densities.formula(distribution, "logpdf")
        assert densities.formula(distribution, "pdf")
    for distribution in ("poisson", "bernoulli", "binom", "geom", "nbinom", "multinomial"):
        assert densities.formula(distribution, "logpmf")
    assert densities.formula("gamma", "cdf") is None
    assert densities.formula("unknown", "pdf") is None
