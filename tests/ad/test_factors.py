"""Factorisations beyond the table's tests: repeated values, errors, triangles, options, third order."""

import numpy as np
import pytest
import scipy.linalg

from metagrad import ad
from metagrad.xp import GRADIENT_TOLERANCE, rng
from tests.ad.test_linalg import LinAlgError, matrix, same, third

SEEDS = pytest.mark.parametrize("seed", [0, 1])
EIGHS = {
    "numpy.linalg.eigh": np.linalg.eigh,
    "scipy.linalg.eigh": scipy.linalg.eigh,
}


def symmetric(seed, *shape, values=None):
    """Return symmetric matrices, with these eigenvalues if they are given, 1 to n otherwise."""
    q = np.linalg.qr(rng(seed, "symmetric", *shape).standard_normal(shape))[0]
    return (q * (np.arange(1.0, shape[-1] + 1) if values is None else np.array(values))) @ np.swapaxes(q, -1, -2)


def rectangle(seed, m, n, values):
    """Return a matrix with these singular values."""
    left, right = (np.linalg.qr(rng(seed, "rectangle", k, m, n).standard_normal((k, len(values))))[0] for k in (m, n))
    return (left * np.array(values)) @ right.T


def projectors(f):
    """Return a function of what f finds that does not depend on the signs of vectors."""

    def of(x):
        values, vectors = f(x)
        return values, vectors[..., :, None, :] * vectors[..., None, :, :]

    return of


@SEEDS
@pytest.mark.parametrize("name", EIGHS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_projectors_on_eigenvectors(name, batch, seed):
    a = symmetric(seed, *batch, 3, 3)
    ad.check_gradients(projectors(EIGHS[name]), (a,), tolerance=1e-7)


VALUES = {
    "cholesky upper": lambda a: np.linalg.cholesky(a, upper=True),
    "cholesky of scipy": scipy.linalg.cholesky,
    "cholesky of scipy, lower": lambda a: scipy.linalg.cholesky(a, lower=True, check_finite=False),
    "eigh of the upper triangle": projectors(lambda x: np.linalg.eigh(x, UPLO="u")),
    "eigh of scipy, upper": projectors(lambda x: scipy.linalg.eigh(x, lower=False)),
    "eigvalsh of scipy, upper": lambda a: scipy.linalg.eigvalsh(a, lower=False),
    "eigh of scipy, values": lambda a: scipy.linalg.eigh(a, eigvals_only=True),
    "svd of a square matrix": lambda a: np.linalg.svd(a).S,
    "svd of scipy": lambda a: scipy.linalg.svd(a[:2], full_matrices=False)[1],
    "qr complete": lambda a: np.linalg.qr(a[:2], mode="complete").R,
    "qr of scipy": lambda a: scipy.linalg.qr(a)[1],
    "qr of scipy, tall": lambda a: scipy.linalg.qr(a[:, :2], mode="r")[0],
}


@SEEDS
@pytest.mark.parametrize("name", VALUES)
def test_values_and_derivatives_with_options(name, seed):
    a = symmetric(seed, 3, 3) + 0.1 * rng(seed).standard_normal((3, 3))
    same(VALUES[name], a)
    ad.check_gradients(VALUES[name], (a,), tolerance=1e-7)


@SEEDS
def test_third_order(seed):
    a = symmetric(seed, 3, 3)
    third(np.linalg.cholesky, a)
    third(np.linalg.eigvalsh, a)
    third(projectors(np.linalg.eigh), a)
    third(np.linalg.svdvals, rectangle(seed, 4, 2, [1.0, 2.0]))
    third(np.linalg.qr, matrix(seed, 4, 2))


def test_only_the_triangle_that_is_read_has_a_gradient_and_matters():
    a, u = symmetric(0, 3, 3), rng(0).standard_normal((3, 3))
    spoilt = np.where(np.tri(3, dtype=bool), a, np.nan)
    for f, x, zero in (
        (np.linalg.cholesky, spoilt, np.triu),
        (lambda x: np.linalg.cholesky(x, upper=True), spoilt.T, np.tril),
        (np.linalg.eigvalsh, spoilt, np.triu),
        (lambda x: projectors(np.linalg.eigh)(x)[1][..., 0], spoilt, np.triu),
        (lambda x: np.linalg.eigvalsh(x, "U"), spoilt.T, np.tril),
        (lambda x: scipy.linalg.cholesky(x, check_finite=False), spoilt.T, np.tril),
        (lambda x: scipy.linalg.eigvalsh(x, check_finite=False), spoilt, np.triu),
    ):
        whole, part = (ad.grad(lambda x, f=f: np.sum(f(x) * u))(v) for v in (a, x))
        np.testing.assert_allclose(part, whole, rtol=1e-11, atol=1e-12)
        assert not np.any(zero(part, 1 if zero is np.triu else -1))


REPEATED = {
    "the identity": np.eye(3),
    "zero": np.zeros((3, 3)),
    "two of three": symmetric(0, 3, 3, values=[1.0, 2.0, 2.0]),
    "two of three, others far": symmetric(1, 3, 3, values=[1e-3, 1e-3, 2e3]),
}


@pytest.mark.parametrize("name", REPEATED)
def test_repeated_eigenvalues_have_the_first_derivative_of_their_symmetric_functions(name):
    a = REPEATED[name]
    for f in (
        np.linalg.eigvalsh,
        scipy.linalg.eigvalsh,
        lambda x: np.linalg.eigh(x)[0],
        lambda x: scipy.linalg.eigh(x)[0],
    ):
        g = ad.grad(lambda x, f=f: np.sum(f(x) ** 3))(a)
        exact = 3 * a @ a
        np.testing.assert_allclose(g, 2 * np.tril(exact, -1) + np.diag(np.diag(exact)), rtol=1e-12, atol=1e-10)
        assert np.isfinite(ad.jvp(lambda x, f=f: np.sum(f(x) ** 3), (a,), (np.ones((3, 3)),))[1])
    spread_out = lambda x: np.sum(np.linalg.svdvals(x) ** 2)  # noqa: E731
    np.testing.assert_allclose(ad.grad(spread_out)(a), 2 * a, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", REPEATED)
def test_vectors_of_repeated_values_have_no_derivative_and_values_no_second_one(name):
    stack = np.stack([symmetric(0, 3, 3), symmetric(1, 3, 3), REPEATED[name]])
    told = r"matrix 2 of the stack has eigenvalues \d and \d that are equal but for rounding.*Use the values alone"
    for where, f in EIGHS.items():
        with pytest.raises(LinAlgError, match=f"{where}: {told}"):
            ad.grad(lambda x, f=f: np.sum(f(x)[1]))(stack)
        with pytest.raises(LinAlgError, match=f"{where}: {told}"):
            ad.jvp(lambda x, f=f: f(x)[1], (stack,), (stack,))
    with pytest.raises(LinAlgError, match=f"numpy.linalg.eigvalsh: {told}"):
        ad.jvp(ad.grad(lambda x: np.sum(np.linalg.eigvalsh(x) ** 2)), (stack,), (stack,))
    told = told.replace("eigenvalues", "singular values")
    for part in (0, 2):
        with pytest.raises(LinAlgError, match=f"numpy.linalg.svd: {told}"):
            ad.grad(lambda x, part=part: np.sum(np.linalg.svd(x)[part]))(stack)


def test_float32_counts_its_own_rounding():
    a = symmetric(0, 3, 3, values=[1.0, 2.0, 2.0 + 1e-9])
    ad.grad(lambda x: np.sum(np.linalg.eigh(x)[1]))(a)
    with pytest.raises(LinAlgError, match="equal but for rounding"):
        ad.grad(lambda x: np.sum(np.linalg.eigh(x)[1]))(a.astype("float32"))


@pytest.mark.parametrize(("m", "n", "part"), [(4, 2, 0), (2, 4, 2)])
def test_vectors_of_a_singular_value_of_0_have_no_derivative_where_others_would_do(m, n, part):
    a = rectangle(0, m, n, [1.0, 0.0])
    with pytest.raises(LinAlgError, match="the matrix has a singular value 1 that is 0 but for rounding"):
        ad.grad(lambda x: np.sum(np.linalg.svd(x, full_matrices=False)[part]))(a)
    # The other vectors are determined: 2 of 2.
    assert np.isfinite(ad.grad(lambda x: np.sum(np.linalg.svd(x, full_matrices=False)[2 - part]))(a)).all()


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 3), (4, 2), (2, 4)])
@SEEDS
def test_what_factors_give_back_is_the_matrix(m, n, seed):
    a = rectangle(seed, m, n, np.arange(1.0, min(m, n) + 1))
    u = rng(seed).standard_normal((m, n))

    def by_svd(x):
        left, s, right = np.linalg.svd(x, full_matrices=False)
        return (left * s) @ right

    def by_qr(x):
        q, r = np.linalg.qr(x)
        return q @ r

    for f in (by_svd, by_qr):
        out, pullback = ad.vjp(f, a)
        np.testing.assert_allclose(out, a, atol=1e-13)
        np.testing.assert_allclose(pullback(u)[0], u, atol=100 * GRADIENT_TOLERANCE["float64"])
    if m == n:
        spd = a @ a.T
        low = lambda x: np.linalg.cholesky(x) @ np.swapaxes(np.linalg.cholesky(x), -1, -2)  # noqa: E731
        np.testing.assert_allclose(ad.vjp(low, spd)[1](u)[0], np.tril(u + u.T, -1) + np.diag(np.diag(u)), atol=1e-11)


@pytest.mark.parametrize("f", [np.linalg.cholesky, scipy.linalg.cholesky, lambda a: scipy.linalg.cho_factor(a)[0]])
def test_a_matrix_that_is_not_definite_is_named(f):
    stack = np.stack([np.eye(2), np.array([[1.0, 2.0], [2.0, 1.0]])])
    told = r"matrix 1 of the stack is not positive definite \(smallest eigenvalue -1\).*a \+ 1e-10 \* np.eye\(n\)"
    with pytest.raises(LinAlgError, match=told):
        ad.grad(lambda a: np.sum(f(a)))(stack)


def test_qr_of_dependent_columns_is_refused():
    a = matrix(0, 4, 2)
    stack = np.stack([np.column_stack([a, a[:, 0] + 1]), np.column_stack([a, a[:, :1] + a[:, 1:]])])
    told = r"numpy.linalg.qr: matrix 1 of the stack has a column 2 that depends on those before it.*leave out"
    with pytest.raises(LinAlgError, match=told):
        ad.grad(lambda x: np.sum(np.linalg.qr(x).Q))(stack)


def test_an_entry_that_is_not_finite_is_named():
    stack = np.stack([np.eye(2), np.full((2, 2), np.nan)])
    for f in (np.linalg.svd, np.linalg.svdvals, scipy.linalg.eigh, scipy.linalg.eigvalsh, scipy.linalg.qr):
        with pytest.raises(LinAlgError, match="matrix 1 of the stack has an entry that is inf or NaN"):
            ad.vjp(f, stack)


REFUSED = {
    "full_matrices": (
        np.linalg.svd,
        r"full_matrices is True.*Write numpy.linalg.svd\(a, full_matrices=False",
    ),
    "full_matrices of scipy": (scipy.linalg.svd, r"Write scipy.linalg.svd\(a, full_matrices=False"),
    "complete": (lambda a: np.linalg.qr(a, mode="complete"), r"mode is 'complete'; expected 'reduced' or 'r'"),
    "raw": (lambda a: np.linalg.qr(a, mode="raw"), r"mode is 'raw'"),
    "full": (scipy.linalg.qr, r"mode is 'full'.*mode='economic'"),
    "UPLO": (lambda a: np.linalg.eigh(a.T @ a, "x"), r"numpy.linalg.eigh: UPLO is 'x'; expected 'L' or 'U'"),
    "cholesky of a rectangle": (np.linalg.cholesky, "square"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_to_write(name):
    f, match = REFUSED[name]
    with pytest.raises(ValueError, match=match):
        ad.vjp(f, matrix(0, 3, 2))
    with pytest.raises(TypeError, match=r"scipy.linalg.eigh with b="):
        ad.vjp(lambda a: scipy.linalg.eigh(a, np.eye(2)), np.eye(2))
    with pytest.raises(TypeError, match=r"scipy.linalg.qr with pivoting="):
        ad.vjp(lambda a: scipy.linalg.qr(a, pivoting=True), np.eye(2))


def test_names_of_parts_are_numpys():
    a = symmetric(0, 2, 2)
    ad.grad(lambda x: np.sum(np.linalg.eigh(x).eigenvalues))(a)
    ad.grad(lambda x: np.sum(np.linalg.svd(x).S) + np.sum(np.linalg.svd(x).Vh))(a)
    ad.grad(lambda x: np.linalg.slogdet(x).logabsdet + np.linalg.slogdet(x).sign)(a)
    ad.grad(lambda x: np.sum(np.linalg.qr(x).Q @ np.linalg.qr(x).R))(a)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_sizes(n):
    a = symmetric(n, 2, n, n)
    for f in (np.linalg.cholesky, np.linalg.eigvalsh, projectors(np.linalg.eigh), np.linalg.svdvals, np.linalg.qr):
        ad.check_gradients(f, (a[0],), order=2 if n < 5 else 1, tolerance=1e-7)
        ad.check_gradients(f, (a,), order=1)


def test_the_likelihood_of_a_gaussian_process_in_two_ways():
    x, y = np.linspace(0.0, 1.0, 8), rng(0).standard_normal(8)

    def kernel(p):
        return np.exp(p[0] - np.subtract.outer(x, x) ** 2 * np.exp(p[1])) + np.exp(p[2]) * np.eye(8)

    def by_cholesky(p):
        factor = scipy.linalg.cho_factor(kernel(p), lower=True)
        return 0.5 * y @ scipy.linalg.cho_solve(factor, y) + np.sum(np.log(np.linalg.diagonal(factor[0])))

    def by_determinant(p):
        return 0.5 * y @ np.linalg.solve(kernel(p), y) + 0.5 * np.linalg.slogdet(kernel(p))[1]

    p = np.array([0.3, 2.0, -2.0])
    v = np.array([1.0, -1.0, 0.5])
    for a, b in zip(*(ad.jvp(ad.value_and_grad(f), (p,), (v,)) for f in (by_cholesky, by_determinant)), strict=True):
        for one, other in zip(ad.leaves(a), ad.leaves(b), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10)
