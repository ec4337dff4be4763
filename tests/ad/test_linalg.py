"""Linear algebra beyond the table's tests: options, singular and ill-conditioned matrices, errors, third order."""

import mpmath
import numpy as np
import pytest
import scipy.linalg

from metagrad import ad
from metagrad.xp import VALUE_TOLERANCE, rng

LinAlgError = np.linalg.LinAlgError
SEEDS = pytest.mark.parametrize("seed", [0, 1])


def matrix(seed, *shape):
    """Return random matrices, well-conditioned where they are square."""
    a = rng(seed, "linalg", *shape).standard_normal(shape)
    return a + 2.5 * np.eye(shape[-1]) if shape[-1] == shape[-2] else a


def third(f, *args):
    """Check the gradient of the sum of f times random numbers to orders two and three."""
    u = ad.tree_map(lambda y: rng(9).standard_normal(np.shape(y)), f(*args))
    ad.check_gradients(lambda *xs: ad.vjp(f, *xs)[1](u), args, tolerance=1e-6)


def same(f, *args):
    found, expected = ad.vjp(f, *args)[0], f(*args)
    for x, y in zip(ad.leaves(found), ad.leaves(expected), strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=VALUE_TOLERANCE["float64"])


VALUES = {
    "solve a vector": np.linalg.solve,
    "solve a list": lambda a, v: np.linalg.solve([[2.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.1, 0.0, 3.0]], v),
    "solve integers": lambda a, v: np.linalg.solve(a, np.arange(3)),
    "power 0": lambda a, v: np.linalg.matrix_power(a, 0) @ v,
    "power 4": lambda a, v: np.linalg.matrix_power(a, 4),
    "power -3": lambda a, v: np.linalg.matrix_power(a, -3),
    "power of a NumPy integer": lambda a, v: np.linalg.matrix_power(a, np.int64(2)),
    "trace below": lambda a, v: np.linalg.trace(np.stack([a, a @ a]), offset=-1),
    "trace above": lambda a, v: np.linalg.trace(a, offset=2),
    "trace beyond": lambda a, v: np.linalg.trace(a, offset=5),
    "diagonal": lambda a, v: np.linalg.diagonal(np.stack([a[:2], a[1:]]), offset=1),
    "pinv rcond": lambda a, v: np.linalg.pinv(a, 0.3),
    "pinv rcond of a stack": lambda a, v: np.linalg.pinv(np.stack([a, a @ a]), np.array([0.3, 0.1])),
    "pinv rtol": lambda a, v: np.linalg.pinv(a, rtol=0.3),
    "pinv rtol None": lambda a, v: np.linalg.pinv(a, rtol=None),
    "lstsq of a square matrix": lambda a, v: np.linalg.lstsq(a, v, rcond=None)[0],
    "lstsq tall": lambda a, v: np.linalg.lstsq(a[:, :2], v)[:2],
    "lstsq cut": lambda a, v: np.linalg.lstsq(a, v, rcond=0.4),
    "outer": lambda a, v: np.linalg.outer(v, v),
    "tensordot": lambda a, v: np.linalg.tensordot(a, v, axes=1),
    "vector_norm of all": lambda a, v: np.linalg.vector_norm(a, ord=1),
    "vector_norm of two axes": lambda a, v: np.linalg.vector_norm(a, axis=(0, 1), ord=3, keepdims=True),
    "vector_norm along an axis": lambda a, v: np.linalg.vector_norm(a, axis=0, ord=np.inf),
    "matrix_norm": lambda a, v: np.linalg.matrix_norm(np.stack([a, a @ a]), ord="nuc", keepdims=True),
    "scipy solve transposed": lambda a, v: scipy.linalg.solve(a, v, transposed=True),
    "scipy solve assuming": lambda a, v: scipy.linalg.solve(a, v, assume_a="sym", lower=True),
    "scipy inv": lambda a, v: scipy.linalg.inv(a, overwrite_a=True, check_finite=False),
    "scipy pinv": lambda a, v: scipy.linalg.pinv(a, rtol=0.3, return_rank=True)[0],
    "scipy pinv atol": lambda a, v: scipy.linalg.pinv(a, atol=1.5),
    "scipy lstsq": lambda a, v: scipy.linalg.lstsq(a[:, :2], v)[:2],
    "scipy lstsq gelsy": lambda a, v: scipy.linalg.lstsq(a[:, :2], v, lapack_driver="gelsy")[0],
    "scipy norm 1": lambda a, v: scipy.linalg.norm(a, 1),
    "scipy norm inf": lambda a, v: scipy.linalg.norm(a, np.inf),
    "cho_factor": lambda a, v: scipy.linalg.cho_factor(a @ a.T)[0],
    "cho_factor lower": lambda a, v: scipy.linalg.cho_factor(a @ a.T, lower=True)[0],
    "cho_solve": lambda a, v: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a @ a.T), v),
    "cho_solve lower": lambda a, v: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a @ a.T, True), np.outer(v, v)),
    "solve_triangular": lambda a, v: scipy.linalg.solve_triangular(a, v, trans=1, lower=True, unit_diagonal=True),
    "block_diag": lambda a, v: scipy.linalg.block_diag(a, v, 2.0 * a[:, :1], 3.0),
    "toeplitz": lambda a, v: scipy.linalg.toeplitz(v, a[:2, 0]),
    "expm": lambda a, v: scipy.linalg.expm(np.stack([a, a / 7])),
}


@SEEDS
@pytest.mark.parametrize("name", VALUES)
def test_values_and_derivatives_with_options(name, seed):
    f, args = VALUES[name], (matrix(seed, 3, 3), rng(seed, name).standard_normal(3))
    args = ((args[0] + args[0].T) / 2, args[1]) if "assuming" in name else args
    same(f, *args)
    ad.check_gradients(
        lambda *xs: [y for y in ad.leaves(f(*xs)) if not isinstance(y, int | np.integer)], args, tolerance=1e-7
    )


NORMS = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf, 0, 3, 0.5, -1.5]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), (1, 0), (2, 0), (-1, -2)])
@pytest.mark.parametrize("order", NORMS)
def test_norms_of_all_orders_are_numpys(order, axis, keepdims):
    x = rng(0, "norm").standard_normal((2, 3, 4))
    for value in (x, x[0], x[0, 0]):
        f = lambda v: np.linalg.norm(v, order, axis, keepdims)  # noqa: E731
        try:
            expected = f(value)
        except Exception as error:
            with pytest.raises((type(error), ValueError)):
                ad.vjp(f, value)
        else:
            np.testing.assert_allclose(ad.vjp(f, value)[0], expected, rtol=1e-13)
            assert np.shape(ad.vjp(f, value)[0]) == np.shape(expected)


@pytest.mark.parametrize("p", [None, 1, -1, 2, -2, np.inf, -np.inf, "fro", "nuc"])
def test_condition_numbers(p):
    for a in (matrix(0, 3, 3), matrix(1, 2, 3, 3)):
        same(lambda x: np.linalg.cond(x, p), a)


@SEEDS
def test_third_order(seed):
    a, b = matrix(seed, 3, 3), rng(seed).standard_normal((3, 2))
    third(np.linalg.solve, a, b)
    third(np.linalg.inv, a)
    third(np.linalg.det, a)
    third(lambda x: np.linalg.slogdet(x)[1], a)
    third(np.linalg.pinv, matrix(seed, 4, 2))
    third(lambda x, y: np.linalg.lstsq(x, y)[0], matrix(seed, 4, 2), rng(seed).standard_normal(4))
    third(scipy.linalg.expm, a / 3)
    third(scipy.linalg.solve_triangular, a, b)


@pytest.mark.parametrize(("n", "batch"), [(1, ()), (2, ()), (5, ()), (1, (2,)), (2, (2, 1)), (5, (2,))])
def test_sizes_and_stacks(n, batch):
    a, b, order = matrix(n, *batch, n, n), rng(n).standard_normal((n, 2)), 1 if batch and n > 2 else 2
    for f in (np.linalg.inv, np.linalg.det, lambda x: np.linalg.slogdet(x)[1], np.linalg.pinv, scipy.linalg.expm):
        ad.check_gradients(f, (a / 2,), order=order, tolerance=3e-8)
    for f in (np.linalg.solve, scipy.linalg.solve, scipy.linalg.solve_triangular):
        ad.check_gradients(f, (a, b), order=order)
        ad.check_gradients(f, (a, b[:, 0]), order=1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_ill_conditioned_system_is_solved_and_differentiated_to_condition_times_roundoff(seed):
    n, stream = 6, rng(seed, "ill")
    left, right = (np.linalg.qr(stream.standard_normal((n, n)))[0] for _ in range(2))
    a, b, u = left * np.logspace(0, -10, n) @ right, stream.standard_normal(n), stream.standard_normal(n)
    found = ad.grad(lambda a, b: u @ np.linalg.solve(a, b), argnums=(0, 1))(a, b)
    with mpmath.workdps(60):
        A, B, U = (mpmath.matrix(x.tolist()) for x in (a, b, u))
        x, back = mpmath.lu_solve(A, B), mpmath.lu_solve(A.T, U)
        exact = -back * x.T
    limit = 1e10 * n * np.finfo(float).eps
    of_a = np.array(exact.tolist(), dtype=float)
    of_b = np.array([float(y) for y in back])
    assert np.linalg.norm(found[0] - of_a) <= 2 * limit * np.linalg.norm(of_a)
    assert np.linalg.norm(found[1] - of_b) <= limit * np.linalg.norm(of_b)


STACK = np.stack([np.eye(3), 2 * np.eye(3), np.diag([1.0, 0.0, 2.0]), np.eye(3)])
SINGULAR = {
    "numpy.linalg.solve": lambda a: np.linalg.solve(a, np.ones(3)),
    "numpy.linalg.inv": np.linalg.inv,
    "numpy.linalg.matrix_power": lambda a: np.linalg.matrix_power(a, -2),
    "numpy.linalg.cond": lambda a: np.linalg.cond(a, 1),
    "scipy.linalg.solve": lambda a: scipy.linalg.solve(a, np.ones(3), assume_a="gen"),
    "scipy.linalg.inv": scipy.linalg.inv,
    "scipy.linalg.solve_triangular": lambda a: scipy.linalg.solve_triangular(a, np.ones(3)),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_a_singular_matrix_is_named_with_its_place_in_the_stack(name):
    f = lambda a: np.sum(SINGULAR[name](a))  # noqa: E731
    with pytest.raises(LinAlgError, match=rf"{name}: matrix 2 of the stack is singular.*invertible.*Add a ridge"):
        ad.grad(f)(STACK)
    with pytest.raises(LinAlgError, match=rf"{name}: matrix \(1, 0\) of the stack is singular"):
        ad.grad(f)(STACK.reshape(2, 2, 3, 3))
    with pytest.raises(LinAlgError, match=rf"{name}: the matrix is singular"):
        ad.jvp(f, (STACK[2],), (STACK[0],))


def test_the_logarithm_of_a_determinant_of_0_has_no_derivative():
    value, pullback = ad.vjp(lambda a: np.linalg.slogdet(a).logabsdet, STACK)
    assert value[2] == -np.inf
    with pytest.raises(LinAlgError, match=r"numpy.linalg.slogdet: matrix 2 of the stack is singular"):
        pullback(np.ones(4))


@SEEDS
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_determinant_of_a_singular_matrix_has_its_cofactors(rank, seed):
    stream = rng(seed, "singular", rank)
    a = stream.standard_normal((4, rank)) @ stream.standard_normal((rank, 4))
    cofactors = [
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(4)] for i in range(4)
    ]
    np.testing.assert_allclose(ad.grad(np.linalg.det)(a), cofactors, atol=1e-13)
    np.testing.assert_allclose(ad.grad(lambda x: np.sum(np.linalg.det(x)))(np.stack([a, a]))[1], cofactors, atol=1e-13)
    if rank == 0:
        with pytest.raises(LinAlgError, match=r"the second derivative of numpy.linalg.det: the matrix is singular"):
            ad.jvp(ad.grad(np.linalg.det), (a,), (a + 1.0,))


def test_a_matrix_that_is_not_finite_spoils_its_own_determinant_alone():
    a = np.stack([np.full((2, 2), np.nan), 2 * np.eye(2)])
    with np.errstate(invalid="ignore"):
        g = ad.grad(lambda x: np.sum(np.linalg.det(x)))(a)
    assert np.isnan(g[0]).all()
    assert g[1].tolist() == [[2, 0], [0, 2]]


def test_a_matrix_that_is_not_finite_is_named():
    a = np.stack([np.eye(3), np.full((3, 3), np.inf)])
    for f in (np.linalg.pinv, scipy.linalg.inv, scipy.linalg.det, scipy.linalg.svdvals):
        with pytest.raises(LinAlgError, match="matrix 1 of the stack has an entry that is inf or NaN"):
            ad.vjp(f, a)


def test_float16_is_refused_with_the_remedy_and_taken_where_scipy_takes_it():
    a = (np.eye(2) * 2).astype("float16")
    with pytest.raises(TypeError, match=r"numpy.linalg.inv: an operand is an array of float16.*astype\(np.float32\)"):
        ad.vjp(np.linalg.inv, a)
    out, pullback = ad.vjp(scipy.linalg.inv, a)
    assert (out.dtype, pullback(out)[0].dtype) == (np.float32, np.float16)


def test_dtypes_of_operands_are_kept():
    a, b = np.eye(2, dtype="float32") * 2, np.ones(2)
    out, pullback = ad.vjp(np.linalg.solve, a, b)
    assert [out.dtype, *[g.dtype for g in pullback(out)]] == [np.float64, np.float32, np.float64]
    out, pullback = ad.vjp(scipy.linalg.det, a)
    assert (out.dtype, pullback(out)[0].dtype) == (np.float64, np.float32)


def test_only_the_triangle_that_is_read_has_a_gradient_and_matters():
    a = matrix(0, 3, 3) @ matrix(0, 3, 3).T
    strict = np.tri(3, k=-1, dtype=bool)
    above, below = np.where(strict.T, np.nan, a), np.where(strict, np.nan, a)
    b = rng(0).standard_normal(3)
    for f, x, zero in (
        (lambda x: scipy.linalg.solve(x, b, assume_a="pos", lower=True, check_finite=False), above, np.triu),
        (lambda x: scipy.linalg.solve(x, b, assume_a="pos", check_finite=False), below, np.tril),
        (lambda x: scipy.linalg.solve_triangular(x, b, lower=True, check_finite=False), above, np.triu),
    ):
        g = ad.grad(lambda x, f=f: np.sum(f(x)))(x)
        assert np.isfinite(g).all()
        assert not np.any(zero(g, 1 if zero is np.triu else -1))


def test_the_rank_of_pinv_and_lstsq_stays_constant():
    stream = rng(0, "rank")
    p, q, b = stream.standard_normal((5, 2)), stream.standard_normal((2, 3)), stream.standard_normal(5)
    # Along these the rank stays 2, so that differences are smooth.
    ad.check_gradients(lambda p, q: np.linalg.pinv(p @ q, 1e-10), (p, q), tolerance=1e-6)
    ad.check_gradients(lambda p, q, b: np.linalg.lstsq(p @ q, b, 1e-10)[0], (p, q, b), tolerance=1e-6)


def test_the_exponential_at_the_edges():
    zero = np.zeros((3, 3))
    u = rng(0).standard_normal((3, 3))
    out, pullback = ad.vjp(scipy.linalg.expm, zero)
    assert np.array_equal(out, np.eye(3))
    np.testing.assert_allclose(pullback(u)[0], u, rtol=1e-14)
    assert np.array_equal(pullback(zero)[0], zero)
    assert ad.grad(lambda a: np.sum(scipy.linalg.expm(a)))(np.zeros((0, 0))).shape == (0, 0)
    for size in (1e-8, 30.0):
        a = size * (u - u.T)
        found = ad.vjp(scipy.linalg.expm, a)[1](u)[0]
        np.testing.assert_allclose(found, scipy.linalg.expm_frechet(a.T, u)[1], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(ad.jvp(scipy.linalg.expm, (u,), (a,))[1], scipy.linalg.expm_frechet(u, a)[1], rtol=1e-10)


REFUSED = {
    "eig": (np.linalg.eig, TypeError, r"numpy.linalg.eig cannot be traced.*np.linalg.eigh\(a\)"),
    "scipy eig": (scipy.linalg.eig, TypeError, r"scipy.linalg.eig cannot be traced.*np.linalg.eigh\(a\)"),
    "logm": (scipy.linalg.logm, TypeError, r"scipy.linalg.logm cannot be traced.*np.log\(values\)"),
    "sqrtm": (scipy.linalg.sqrtm, TypeError, r"np.sqrt\(values\)"),
    "lu": (scipy.linalg.lu, TypeError, r"np.linalg.solve\(a, b\)"),
    "banded": (lambda a: scipy.linalg.solve(a, a, assume_a="banded"), ValueError, "assume_a is 'banded'.*Leave it out"),
    "trans": (lambda a: scipy.linalg.solve_triangular(a, a, trans=3), ValueError, "trans is 3"),
    "hermitian": (lambda a: np.linalg.pinv(a, hermitian=True), TypeError, "numpy.linalg.pinv with hermitian="),
    "norm": (lambda a: np.linalg.norm(a, 3), ValueError, "numpy.linalg.norm: ord is 3; expected 'fro'"),
    "norm of vectors": (lambda a: np.linalg.norm(a, "fro", 0), ValueError, "ord is 'fro'; expected a number"),
    "norm of three axes": (lambda a: np.linalg.norm(a[None], 2), ValueError, "there are 3 axes"),
    "power": (lambda a: np.linalg.matrix_power(a, 0.5), TypeError, "integer"),
    "power of a rectangle": (lambda a: np.linalg.matrix_power(a[:1], 2), LinAlgError, "square"),
    "inv of a rectangle": (lambda a: np.linalg.inv(a[:1]), LinAlgError, "square"),
    "multi_dot": (lambda a: np.linalg.multi_dot([a]), ValueError, "at least two"),
    "lstsq of a stack": (lambda a: np.linalg.lstsq(a[None], a[None]), LinAlgError, "a has 3 axes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_to_write(name):
    f, error, match = REFUSED[name]
    with pytest.raises(error, match=match):
        ad.vjp(f, 2.0 * np.eye(2))


def test_what_the_remedies_say_is_right():
    a = matrix(0, 3, 3) @ matrix(0, 3, 3).T

    def root(x):
        values, vectors = np.linalg.eigh(x)
        return (vectors * np.sqrt(values)) @ vectors.T

    np.testing.assert_allclose(root(a), scipy.linalg.sqrtm(a), rtol=1e-12)
    ad.check_gradients(root, (a,), tolerance=1e-7)
