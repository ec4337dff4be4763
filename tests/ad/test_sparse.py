"""Constant sparse matrices of SciPy beside traced values: products of any order, and refusals of the rest."""

import numpy as np
import pytest
from scipy import sparse

import metagrad as mg
from metagrad import ad
from metagrad.scaled import Scaled, narrow
from metagrad.xp import rng

FORMATS = [f"{kind}_{of}" for kind in ("csr", "csc", "coo", "dia", "bsr", "lil", "dok") for of in ("matrix", "array")]


def matrix(seed, shape=(4, 3), dtype="float64"):
    stream = rng(seed, "sparse")
    return (stream.standard_normal(shape) * (stream.random(shape) < 0.6)).astype(dtype)


PRODUCTS = {
    "S @ w": (lambda S, x: S @ x, (3,)),
    "S @ W": (lambda S, x: S @ x, (3, 2)),
    "S.T @ w": (lambda S, x: S.T @ x, (4,)),
    "S.T @ W": (lambda S, x: S.T @ x, (4, 2)),
    "w @ S": (lambda S, x: x @ S, (4,)),
    "W @ S": (lambda S, x: x @ S, (5, 4)),
    "W @ S.T": (lambda S, x: x @ S.T, (5, 3)),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_products_and_their_derivatives(kind, product):
    f, shape = PRODUCTS[product]
    for seed in (0, 1):
        S, x = getattr(sparse, kind)(matrix(seed)), rng(seed, product).standard_normal(shape)
        out, _ = ad.vjp(lambda v, S=S: f(S, v), x)
        assert np.array_equal(out, f(S, x))
        assert type(out) is np.ndarray
        report = ad.check_gradients(lambda v, S=S: np.sin(f(S, v)) * f(S, v), (x,))
        assert report.finite_difference < 1e-7


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if not kind.startswith("coo")])
def test_the_method_dot(kind):
    S = getattr(sparse, kind)(matrix(2))
    x = rng(0, "dot").standard_normal(3)
    assert np.array_equal(ad.vjp(S.dot, x)[0], S @ x)
    ad.check_gradients(lambda v: S.dot(v) ** 2, (x,))


@pytest.mark.parametrize("of_matrix", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("of_vector", ["float32", "float64"])
def test_dtypes_are_those_of_scipy(of_matrix, of_vector):
    S, x = sparse.csr_array(matrix(3, dtype=of_matrix)), rng(0).standard_normal(3).astype(of_vector)
    out, pullback = ad.vjp(lambda v: S @ v, x)
    assert out.dtype == (S @ x).dtype
    (slope,) = pullback(np.ones_like(out))
    assert slope.dtype == of_vector
    np.testing.assert_allclose(slope, S.toarray().sum(axis=0), rtol=1e-6)


def test_third_order_and_nesting():
    S, x, v = sparse.csr_array(matrix(4)), rng(0, "x").standard_normal(3), rng(0, "v").standard_normal(3)
    dense = S.toarray()

    def curvature(A):
        return lambda w: np.sum(ad.grad(lambda u: np.sum((A @ u) ** 4))(w) ** 2)

    for f in (lambda A: ad.grad(curvature(A))(x), lambda A: ad.hvp(curvature(A), x, v)):
        np.testing.assert_allclose(f(S), f(dense), rtol=1e-12)


def write_into(S):
    if S.format in ("coo", "dia", "bsr"):  # which have no assignment
        S.data[...] = 7.0
    else:
        S[0, 0] = 7.0


def twos(kind, n):
    return getattr(sparse, kind)(sparse.dia_array((np.full((1, n), 2.0), [0]), shape=(n, n)))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_matrix_that_is_written_into_is_kept_as_it_was(kind):
    S = twos(kind, 3)

    def loss(w):
        y = S @ w
        write_into(S)
        return np.sum(y**2)

    assert ad.grad(loss)(np.ones(3)).tolist() == [8.0] * 3
    assert (S @ np.ones(3))[0] == 7.0


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if not kind.startswith(("lil", "dok"))])
def test_a_large_one_is_read_only_while_it_is_differentiated_through(kind):
    S = twos(kind, 3000)

    def loss(w):
        y = S @ w
        write_into(S)
        return np.sum(y**2)

    with pytest.raises(ValueError, match="read-only") as caught:
        ad.grad(loss)(np.ones(3000))
    assert "Build a new array" in caught.value.__notes__[0]
    write_into(S)  # free again


def test_rows_of_a_batch_go_on_the_left():
    S, W = sparse.csr_array(matrix(5)), rng(0).standard_normal((6, 3))
    loss = lambda w: np.sum((w @ S.T) ** 2, axis=-1)  # noqa: E731
    np.testing.assert_allclose(ad.grad(loss)(W), 2 * W @ S.toarray().T @ S.toarray(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"S @ x: x is of shape \(6, 3\).*a matrix with 3 rows.*w @ S.T gives one row"):
        ad.grad(lambda w: np.sum(S @ w))(W)


MATRIX = sparse.csr_array(matrix(6))
REFUSED = {
    "array * x": (lambda x: MATRIX[:3] * x, r"multiply: an operand is a sparse csr_array.*S @ x.*S.toarray\(\) \* x"),
    "x * array": (lambda x: x * MATRIX[:3], r"multiply: an operand is a sparse csr_array.*S @ x.*S.toarray\(\) \* x"),
    "matrix * x": (lambda x: sparse.csr_matrix(MATRIX) * x, "multiply: an operand is a sparse csr_matrix.*S @ x"),
    "multiply": (MATRIX.multiply, r"scipy.sparse.csr_array.multiply.*S.toarray\(\) \* x"),
    "+": (lambda x: MATRIX + x, "add: an operand is a sparse csr_array"),
    "-": (lambda x: x - MATRIX, "subtract: an operand is a sparse csr_array"),
    "/": (lambda x: MATRIX / x, "divide: an operand is a sparse csr_array"),
    "np.dot": (lambda x: np.dot(MATRIX, x), "dot: an operand is a sparse csr_array.*S @ x"),
    "coo.dot": (lambda x: sparse.coo_array(MATRIX).dot(x), "dot argument not supported type"),
    "spsolve": (lambda x: sparse.linalg.spsolve(MATRIX[:3].tocsc(), x), r"scipy.sparse.linalg.*spsolve.*np.linalg.sol"),
    "operator": (lambda x: sparse.linalg.aslinearoperator(MATRIX) @ x, r"scipy.sparse.linalg.*S @ x"),
    "a new one": (sparse.csr_array, "scipy.sparse.*csr_array.*S.toarray"),
    "complex": (lambda x: (MATRIX * 1j) @ x, "S is a csr_array of complex128.*S.real @ x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_the_remedy(name):
    f, match = REFUSED[name]
    with pytest.raises(TypeError, match=match):
        ad.grad(lambda x: np.sum(f(x)))(np.ones(3))


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (3, 1, 1)])
def test_shapes_that_do_not_fit(shape):
    for f in (lambda x: MATRIX @ x, lambda x: x @ MATRIX.T):
        with pytest.raises(
            ValueError, match=r"x is of shape .* beside S of shape \((4, 3|3, 4)\); expected a vector of 3"
        ):
            ad.vjp(f, np.ones(shape) if shape else 1.0)


def test_a_sparse_vector_is_refused():
    with pytest.raises(ValueError, match=r"S is of shape \(3,\); expected a matrix"):
        ad.vjp(lambda x: sparse.coo_array(np.ones(3)) @ x, np.ones(3))


def test_floats_with_exponents_of_their_own():
    x = rng(0).standard_normal(3)
    out, pullback = ad.vjp(lambda v: (MATRIX @ v) ** 2, Scaled.of(x))
    np.testing.assert_allclose(narrow(out), (MATRIX @ x) ** 2, rtol=1e-14)
    (slope,) = pullback(np.ones(4))
    np.testing.assert_allclose(narrow(slope), 2 * MATRIX.T @ (MATRIX @ x), rtol=1e-12)


def test_what_overflows_on_the_way_back_is_told_as_of_a_dense_matrix():
    S, y = sparse.csr_array(matrix(7)), rng(0, "y").standard_normal(4)
    found = []
    for A in (S, S.toarray()):
        task = mg.FunctionTask(lambda w, A=A: np.sum((w @ A.T - y) ** 2, axis=-1), np.zeros((3, 3)))
        out = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 1.3, steps=260)
        found.append((out.grad.eta.to_float(), out.report()))
    assert np.isnan(found[0][0]) == np.isnan(found[1][0])
    assert found[0][1].startswith("STATE_")  # 0 times inf is no term of a sparse product: no NaN comes first
    assert found[1][1].startswith("STATE_")


def test_zero_times_infinity_beside_a_sparse_product():
    S, x = sparse.csr_array(matrix(8)), np.array([0.0, 1.0, 4.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        for A in (S, S.toarray()):
            slope = ad.grad(lambda w, A=A: np.sum(A @ np.where(w > 0, np.sqrt(w), 0.0)))(x)
            assert np.isfinite(slope).all()


def test_the_engine_runs_on_sparse_data():
    stream = rng(0, "engine")
    S, y = sparse.random_array((20, 6), density=0.4, rng=np.random.default_rng(0)), stream.standard_normal(20)
    found = []
    for A in (S, S.toarray()):
        for loss, degree in ((lambda w, A=A: np.sum((w @ A.T) ** 2, axis=-1), 2), (lambda w, A=A: fit(w, A, y), None)):
            task = mg.FunctionTask(loss, np.ones((2, 6)), degree=degree)
            for options in ({}, {"method": "forward"}, {"scaling": "auto", "rescue": "always"}):
                out = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 0.05, steps=30, **options)
                found.append(out.grad.eta.to_float())
    np.testing.assert_allclose(found[:6], found[6:], rtol=1e-9)


def fit(w, A, y):
    return np.sum(np.log1p((w @ A.T - y) ** 2), axis=-1)
