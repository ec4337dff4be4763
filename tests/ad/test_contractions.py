"""Products of vectors, matrices and polynomials, and covariances: NumPy's values over their options, and bad input."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import GRADIENT_TOLERANCE, VALUE_TOLERANCE, rng

SQUARE = rng(0, "contractions", "square").standard_normal((3, 3))
VECTOR = np.array([1.0, 2.0, -0.5])


def array(seed):
    return rng(seed, "contractions").standard_normal((2, 3))


def agree(f, x, dtype="float64"):
    found, expected = ad.vjp(f, x)[0], f(x)
    assert np.shape(found) == np.shape(expected)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    assert np.abs(found - expected).max(initial=0) <= 20 * VALUE_TOLERANCE[dtype] * np.abs(expected).max(initial=1)


OPTIONS = {
    "dot with a number": lambda x: np.dot(x, 2.0),
    "dot with an integer": lambda x: np.dot(2, x),
    "dot with a list": lambda x: np.dot([1.0, 2.0], x),
    "dot with a list of traced": lambda x: np.dot(x, [x[0, 0], 1.0, 2.0]),
    "x.dot with a list": lambda x: x.dot([1.0, 2.0, 3.0]),
    "inner with a list": lambda x: np.inner(x, [1.0, 2.0, 3.0]),
    "inner with a number": lambda x: np.inner(x, 2.0),
    "vdot with lists": lambda x: np.vdot(x, [[1, 2, 3], [4, 5, 6]]),
    "outer with a list": lambda x: np.outer(x, [1, 2]),
    "outer with a number": lambda x: np.outer(2.0, x),
    "matmul with a list": lambda x: [1.0, 2.0] @ x @ [1.0, 2.0, 3.0],
    "tensordot": lambda x: np.tensordot(x, SQUARE, axes=[-1, -2]),
    "tensordot with a list": lambda x: np.tensordot(x, [1.0, 2.0, 3.0], np.int64(1)),
    "einsum of lists": lambda x: np.einsum(x, [0, 1], SQUARE, [1, 2], [0, 2]),
    "einsum of lists, no output": lambda x: np.einsum(x, [1, 0]),
    "einsum of lists, letters of both cases": lambda x: np.einsum(x, [27, 3]),
    "einsum of lists, dots": lambda x: np.einsum(x, [..., 0], SQUARE, [0, 1], [..., 1]),
    "einsum in an order found": lambda x: np.einsum("ij,jk,kl->il", x, SQUARE, SQUARE, optimize=True),
    "einsum in a given order": lambda x: np.einsum(
        "ij,jk,kl->il", x, SQUARE, SQUARE, optimize=["einsum_path", (0, 1), (0, 1)]
    ),
    "einsum of a diagonal": lambda x: np.einsum("ii->i", x[:, :2]) + np.einsum("ii", x[:, 1:]),
    "einsum of diagonals in a stack": lambda x: np.einsum("...ii->...", np.stack([x[:, :2], x[:, 1:]])),
    "einsum with dtype": lambda x: np.einsum("ij->j", x, dtype=np.float64, order="F"),
    "einsum with a list": lambda x: np.einsum("ij,j->i", x, [1.0, 2.0, 3.0]),
    "einsum with a number": lambda x: np.einsum("ij,->ij", x, 2.0),
    "cross with a list": lambda x: np.cross(x, [1.0, 2.0, 3.0]),
    "cross along axes": lambda x: np.cross(x.T, SQUARE[:2], axisa=0, axisc=0),
    "cross along one axis": lambda x: np.cross(x.T, SQUARE[:, :2], axis=0),
    "kron with a list": lambda x: np.kron([1.0, 2.0], x),
    "kron with a number": lambda x: np.kron(x, 2.0),
    "kron of stacks": lambda x: np.kron(x[None], SQUARE),
    "vecdot": lambda x: np.vecdot(x, SQUARE[:2], axis=0),
    "linalg.vecdot": lambda x: np.linalg.vecdot(x, VECTOR),
    "linalg.diagonal": lambda x: np.linalg.diagonal(x, offset=1),
    "linalg.trace": lambda x: np.linalg.trace(x, offset=-1, dtype=np.float64),
    "linalg.tensordot": lambda x: np.linalg.tensordot(x, SQUARE, axes=1),
    "linalg.cross": lambda x: np.linalg.cross(x, SQUARE[:2]),
    "polyval at a number": lambda x: np.polyval(x[0], 2.0),
    "polyval at a list": lambda x: np.polyval(x[0], [1, 2]),
    "polyval of a list": lambda x: np.polyval([1, 2, 3], x),
    "polyval of a list of traced": lambda x: np.polyval([x[0, 0], 2.0], x),
    "polyadd": lambda x: np.polyadd(x[0], [1.0]),
    "polysub": lambda x: np.polysub([1, 2, 3, 4], x[0]),
    "polyder to nothing": lambda x: np.polyder(x[0], 5),
    "polyint with constants": lambda x: np.polyint(x[0], 2, [1.0, 2.0]),
    "polyint with one constant": lambda x: np.polyint(x[0], 2, 3.0),
    "vander": lambda x: np.vander(x[0], N=5, increasing=True),
    "vander of nothing": lambda x: np.vander(x[0], 0),
    "cov with a list": lambda x: np.cov(x, [1.0, 2.0, 4.0]),
    "cov of columns": lambda x: np.cov(x.T, VECTOR, rowvar=False),
    "cov with bias": lambda x: np.cov(x, bias=True),
    "cov with ddof": lambda x: np.cov(x, ddof=0),
    "cov with weights": lambda x: np.cov(x, aweights=[0.2, 0.3, 0.5]),
    "cov with weights and ddof": lambda x: np.cov(x, aweights=[0.2, 0.3, 0.5], ddof=0),
    "cov with counts": lambda x: np.cov(x, fweights=[1, 2, 3]),
    "cov with both": lambda x: np.cov(x, fweights=[1, 2, 3], aweights=[0.2, 0.3, 0.5]),
    "corrcoef": lambda x: np.corrcoef(x, VECTOR),
    "corrcoef of one": lambda x: np.corrcoef(x[0]),
}
if hasattr(np, "matvec"):
    OPTIONS |= {
        "matvec": lambda x: np.matvec(x, [1.0, 2.0, 3.0]),
        "vecmat": lambda x: np.vecmat([1.0, 2.0], x),
    }


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_those_of_numpy_and_derivatives_those_of_differences(name, seed):
    x = array(seed)
    agree(OPTIONS[name], x)
    assert ad.check_gradients(OPTIONS[name], (x,)).finite_difference < 1e-8


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtypes_are_those_of_numpy(name, dtype):
    x = array(0).astype(dtype)
    agree(OPTIONS[name], x, dtype)
    out, pull = ad.vjp(OPTIONS[name], x)
    assert pull(np.ones_like(out))[0].dtype == x.dtype


def test_the_path_of_a_sum_of_products_is_a_constant():
    seen = []
    ad.grad(lambda x: seen.append(np.einsum_path("ij,jk->ik", x, SQUARE)[0]) or np.sum(x))(array(0))
    assert seen == [np.einsum_path("ij,jk->ik", array(0), SQUARE)[0]]


def test_a_correlation_of_lines_is_1_and_stays_so():
    line = lambda x: np.corrcoef(x, 2.0 * x + 1.0)[0, 1]  # noqa: E731
    assert line(VECTOR) == pytest.approx(1.0)
    assert np.abs(ad.grad(line)(VECTOR)).max() <= 10 * GRADIENT_TOLERANCE["float64"]


BAD = {
    "inner": (lambda x: np.inner(x, [1.0]), ValueError, "inner: b"),
    "vdot": (lambda x: np.vdot(x, [1.0]), ValueError, "vdot: b"),
    "dot": (lambda x: np.dot(x, x), ValueError, "mismatch"),
    "matmul of a number": (lambda x: np.matmul(x, 2.0), ValueError, "does not have enough dimensions"),
    "matmul along axes": (lambda x: np.matmul(x, x.T, axes=[(0, 1)] * 3), TypeError, "matmul with axes="),
    "matmul of a matrix": (lambda x: x @ np.matrix(SQUARE), TypeError, r"np\.asarray"),
    "tensordot": (lambda x: np.tensordot(x, np.ones((1, 3)), ([0], [0])), ValueError, "tensordot: axes"),
    "tensordot of an axis": (lambda x: np.tensordot(x, x, ([5], [0])), np.exceptions.AxisError, "tensordot: axes"),
    "tensordot twice": (lambda x: np.tensordot(x, x, ([0, 0], [0, 0])), ValueError, "tensordot: axes"),
    "einsum": (lambda x: np.einsum("ij,k->il", x, VECTOR), ValueError, "einsum: subscripts is 'ij,k->il'"),
    "einsum twice": (lambda x: np.einsum("ij->ii", x), ValueError, "einsum: subscripts is 'ij->ii'"),
    "einsum without dots": (lambda x: np.einsum("...->", x), ValueError, "einsum: subscripts"),
    "einsum of one": (lambda x: np.einsum("ij,jk", x), ValueError, "name 2 operands, 1 came"),
    "einsum of a diagonal": (lambda x: np.einsum("ii->i", x), ValueError, r"einsum: .* shape \(2, 3\)"),
    "einsum of labels": (lambda x: np.einsum(x, [0, 77]), ValueError, "labels"),
    "einsum narrow": (lambda x: np.einsum("ij->j", x, dtype="f4"), TypeError, "einsum: dtype is float32"),
    "einsum out": (lambda x: np.einsum("ij->j", x, out=np.ones(3)), TypeError, "written in place"),
    "cross": (lambda x: np.cross(x[:, :2], x[:, 1:]), TypeError, r"cross: .* a\[\.\.\., 0\] \* b"),
    "vecdot": (lambda x: np.vecdot(x, [1.0]), ValueError, "mismatch"),
    "linalg.outer": (lambda x: np.linalg.outer(x, VECTOR), ValueError, r"linalg\.outer"),
    "poly1d": (lambda x: np.poly1d(x[0])(2.0), TypeError, r"np\.polyval\(p, x\)"),
    "polymul": (lambda x: np.polymul(x[0], [1.0, 2.0]), TypeError, r"polymul .* np\.convolve"),
    "polyfit": (lambda x: np.polyfit(x[0], x[1], 1), TypeError, r"polyfit .* np\.linalg\.lstsq"),
    "roots": (lambda x: np.roots(x[0]), TypeError, r"roots .* np\.polyval"),
    "polyder": (lambda x: np.polyder(x[0], -1), ValueError, "polyder: m"),
    "polyint": (lambda x: np.polyint(x[0], 2, [1.0, 2.0, 3.0]), ValueError, "polyint: k"),
    "vander": (np.vander, ValueError, "vander: x"),
    "cov of one observation": (lambda x: np.cov(x[:, :1]), ValueError, "cov: ddof"),
    "cov of three axes": (lambda x: np.cov(x[None]), ValueError, "cov: m, y"),
    "cov with fractions": (lambda x: np.cov(x, fweights=[1.5, 2, 3]), TypeError, "cov: fweights"),
    "cov with negative counts": (lambda x: np.cov(x, fweights=[-1, 2, 3]), ValueError, "cov: fweights"),
    "cov with few weights": (lambda x: np.cov(x, aweights=[1.0, 2.0]), ValueError, "cov: aweights"),
    "cov with traced weights": (lambda x: np.cov(x, aweights=x[0]), TypeError, "cov: aweights is a traced value"),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    f, error, message = BAD[name]
    with pytest.raises(error, match=f"(?s){message}"):
        ad.vjp(f, array(0))
