"""Code written for NumPy runs on traced values as it stands, or says what to change."""

import dataclasses

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import GRADIENT_TOLERANCE, VALUE_TOLERANCE

X = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])
SAME = {
    "operators": lambda x: (2 - x) * x / (x * x + 1) + 3 / (x + 7) - (-x) + abs(x) + (x + 3) ** 1.5 + 2.0**x,
    "array first": lambda x: X * x + X - x + X / (x + 7) + np.abs(X) ** x + X @ x.T @ X,
    "numpy scalar first": lambda x: np.float64(2.0) * x - np.float64(1.0),
    "list operand": lambda x: x * [1.0, 2.0, 3.0],
    "methods": lambda x: x.sum(axis=-1, keepdims=True) * x.mean(0) + x.max() * x.min(axis=1).reshape(2, 1) + x.std(),
    "more methods": lambda x: x.T.reshape(-1)[2:] * x.ravel()[:4] + x.transpose(1, 0).flatten()[:4] + x.dot(X.T).sum(),
    "still more": lambda x: x.swapaxes(0, 1)[:2, :2].astype(np.float64) + x[:, None].squeeze(1)[:, :2].clip(-1.0, 2.0),
    "matmul": lambda x: x @ x.T + np.matmul(x, X.T),
    "branch on a comparison": lambda x: x * 2 if (x > 0).any() else x,
    "unpacking": lambda x: sum(row[0] * row[1] for row in x),
    "masks": lambda x: np.where((x > 0) & ~(x >= 3), x, 0.0) + (x != 1) * x,
    "constants": lambda x: x * np.ones_like(x) + np.zeros_like(x) + np.sign(x) * x + x[np.argmax(x, axis=0)[0]],
    "keywords": lambda x: np.sum(a=x, axis=0) + np.clip(x, a_min=-1.0, a_max=1.0) + np.mean(x, axis=1, keepdims=True),
    "functions of sequences": lambda x: np.stack([x[0], X[0]]) + np.concatenate((x[:1], X[:1])),
    "sorted by the argument": lambda x: x[0][np.argsort(x[0])] * np.array([1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("name", SAME)
def test_it_computes_and_differentiates(name):
    f = SAME[name]
    out, _ = ad.vjp(f, X)
    assert np.array_equal(out, f(X))
    ad.check_gradients(f, (X + 0.01,), name=name)


SUMS = [
    ("ij,jk->ik", (20, 30), (30, 20)),
    ("ij,kj->ki", (20, 30), (20, 30)),
    ("bij,bjk->kbi", (4, 20, 10), (4, 10, 20)),
    ("bij,bj->bi", (4, 40, 30), (4, 30)),
    ("ij,ij->", (80, 60), (80, 60)),
    ("aij,jbk->bi", (3, 20, 30), (30, 5, 2)),
    ("...ij,...j->...i", (2, 3, 30, 40), (3, 40)),
    ("ij,j->i", (80, 60), (1,)),
    ("ij,k->ikj", (20, 30), (10,)),
    ("ij,ij->ij", (80, 60), (80, 60)),
]


@pytest.mark.parametrize(("subscripts", "of_x", "of_y"), SUMS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_large_sums_of_products_are_those_of_einsum(subscripts, of_x, of_y, dtype):
    stream = np.random.default_rng(0)
    x, y = (stream.standard_normal(shape).astype(dtype) for shape in (of_x, of_y))
    f = lambda a, b: np.einsum(subscripts, a, b)  # noqa: E731
    out, pullback = ad.vjp(f, x, y)
    expected = f(x, y)
    size = np.einsum(subscripts, abs(x), abs(y))
    assert (out.dtype, out.shape) == (expected.dtype, expected.shape)
    assert np.all(abs(out - expected) <= 4 * VALUE_TOLERANCE[dtype] * size)
    u = stream.standard_normal(out.shape).astype(dtype)
    x_bar, y_bar = pullback(u)
    # <u, f(dx, y)> = <x_bar, dx> in float64, the sum being linear in each operand
    wide = [a.astype("float64") for a in (x, y, u, x_bar, y_bar)]
    dx, dy = stream.standard_normal(of_x), stream.standard_normal(of_y)
    for forth, back in ((f(dx, wide[1]), wide[3] * dx), (f(wide[0], dy), wide[4] * dy)):
        assert abs(np.sum(wide[2] * forth) - np.sum(back)) <= GRADIENT_TOLERANCE[dtype] * np.sum(abs(back))
    if dtype == "float64":
        slope = lambda a, b: ad.vjp(f, a, b)[1](u)  # noqa: E731
        tangent = ad.jvp(slope, (x, y), (dx, dy))[1]
        assert np.allclose(tangent[0], ad.vjp(f, x, dy)[1](u)[0], rtol=1e-11, atol=1e-11 * np.abs(tangent[0]).max())
        assert np.allclose(tangent[1], ad.vjp(f, dx, y)[1](u)[1], rtol=1e-11, atol=1e-11 * np.abs(tangent[1]).max())


def test_large_tensordot_inner_and_dot():
    stream = np.random.default_rng(1)
    x, y, z = (stream.standard_normal(shape) for shape in ((8, 20, 30), (30, 20, 5), (6, 30)))
    for f, a, b in (
        (lambda a, b: np.tensordot(a, b, ((1, 2), (1, 0))), x, y),
        (lambda a, b: np.tensordot(a, b, 1), x, y),
        (np.inner, x, z),
        (np.dot, z, y.transpose(1, 0, 2)),
    ):
        out, pullback = ad.vjp(f, a, b)
        assert np.allclose(out, f(a, b), rtol=1e-12, atol=1e-12)
        da, db = stream.standard_normal(a.shape), stream.standard_normal(b.shape)
        a_bar, b_bar = pullback(out)
        assert np.isclose(np.sum(out * f(da, b)), np.sum(a_bar * da), rtol=1e-10, atol=1e-10 * np.sum(out * out))
        assert np.isclose(np.sum(out * f(a, db)), np.sum(b_bar * db), rtol=1e-10, atol=1e-10 * np.sum(out * out))


def test_in_place_operators_rebind():
    def f(x):
        y = x
        y += 1.0
        y *= x
        y **= 2
        return y

    assert ad.grad(f)(2.0) == 2 * (2.0**2 + 2.0) * 5.0


def test_mixed_dtypes_promote_and_come_back():
    narrow, wide = np.ones(3, "float32"), np.ones(3, "float64")
    out, pullback = ad.vjp(np.multiply, narrow, wide)
    assert out.dtype == "float64"
    assert [g.dtype for g in pullback(out)] == ["float32", "float64"]


def test_means_of_more_float16_numbers_than_float16_can_count():
    n = 100_000
    slope = ad.grad(np.mean)(np.ones(n, "float16"))
    assert slope.dtype == "float16"
    assert np.all(np.abs(slope.astype(float) * n - 1) < 0.01)  # 1/n is subnormal: two digits


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.sqrt, np.inf),
        (lambda x: np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0), 0.0),
        (ad.relu, 0.0),
        (np.sign, 0.0),
        (lambda x: np.maximum(x, 0.0), 0.5),
        (np.abs, 0.0),
    ],
)
def test_at_zero(f, slope):
    with np.errstate(divide="ignore"):
        assert ad.grad(f)(0.0) == slope


def test_ties_share():
    assert ad.grad(np.max)(np.array([1.0, 3.0, 3.0])).tolist() == [0.0, 0.5, 0.5]
    assert ad.grad(lambda x: np.min(x, axis=1))(np.ones((2, 4))).tolist() == [[0.25] * 4] * 2
    assert ad.grad(np.prod)(np.array([0.0, 2.0, 3.0])).tolist() == [6.0, 0.0, 0.0]


def test_far_out_in_the_range():
    x = np.array([-750.0, -40.0, 0.0, 40.0, 750.0])
    slope = ad.grad(ad.sigmoid)(x)
    assert np.all(np.abs(slope[1:4] - [4.248354255291589e-18, 0.25, 4.248354255291589e-18]) <= 1e-15 * slope[1:4])
    assert ad.logsumexp(np.array([1000.0, 1000.0])) == 1000.0 + np.log(2.0)
    assert ad.grad(ad.logsumexp)(np.array([1000.0, 0.0])).tolist() == [1.0, 0.0]
    tiny = np.array([1e-300])
    assert abs(ad.grad(lambda v: v * v)(tiny)[0] / 2e-300 - 1) <= GRADIENT_TOLERANCE["float64"]


def raises(match, f, x=None):
    with pytest.raises(TypeError, match=match):
        ad.grad(f)(np.ones(2) if x is None else x)


def test_what_would_lose_the_derivative_is_refused():
    raises(r"float\(x\) is not possible while x is traced.*stop_gradient", float, 1.0)
    raises(r"bool\(x\).*Compare it", lambda x: x if x else -x, 1.0)
    raises(r"numpy.asarray\(x\)", np.asarray)
    raises(r"numpy.array\(x\), .* is not possible .* np.stack\(\[x, y\]\)", lambda x: np.array([x[0], x[1]]))
    raises(r"np.stack\(\[x, y\]\)", lambda x: np.array([x[:1], x[1:]]))
    raises(r"x\[index\] = value.*np.where", lambda x: x.__setitem__(0, 1.0))
    raises("the index is traced", lambda x: x[x])


def test_unsupported_functions_are_named_with_the_remedy():
    raises(r"numpy\.union1d cannot be traced.*metagrad\.ad\.primitive", lambda x: np.union1d(x, x))
    raises(r"numpy\.linalg\.eig cannot be traced.*np\.linalg\.eigh", np.linalg.eig, np.eye(2))
    raises(r"numpy\.sort with order=", lambda x: np.sort(x, order="f"))
    raises(r"numpy\.gcd cannot be traced.*integers", lambda x: np.gcd(x, x))
    raises(r"add\.reduceat cannot be traced", lambda x: np.add.reduceat(x, [0, 1]))
    raises(r"Write x = x \+ y for x \+= y", lambda x: np.add(x, x, out=np.ones(2)))
    raises("add: argument 1 is a str; expected an array or a number", lambda x: x + "a")

    def in_place(x):
        y = np.ones(2)
        y += x
        return y

    raises(r"Write x = x \+ y", in_place)


@dataclasses.dataclass(frozen=True)
class Record:
    w: float


def test_bad_arguments_are_named():
    for bad, came in (({1.0}, "set"), (Record(1.0), "Record"), (np.ones(1, complex), "complex")):
        with pytest.raises(TypeError, match=f"vjp: an argument is a? ?{came}.*expected"):
            ad.vjp(lambda x: x, bad)
    raises("grad: what the function returns is a tuple", lambda x: (x, x))
    raises("grad: what the function returns is an array of int64", lambda x: np.array([1]))
    raises("grad: what the function returns is a NoneType", lambda x: None)
    _, pullback = ad.vjp(lambda x: x * 2, np.ones(2))
    with pytest.raises(ValueError, match=r"pullback: cotangent is of shape \(3,\); expected the shape of the output"):
        pullback(np.ones(3))
    with pytest.raises(TypeError, match="pullback: cotangent is of float32; expected the dtype of the output"):
        pullback(np.ones(2, "float32"))
    with pytest.raises(TypeError, match="pullback: cotangent is a tuple in the place of a leaf"):
        pullback((np.ones(2),))
    with pytest.raises(ValueError, match="pullback: wrt is 1; expected positions of 1 arguments"):
        pullback(np.ones(2), wrt=(1,))
    with pytest.raises(ValueError, match="check_gradients: order is 3"):
        ad.check_gradients(np.sin, (np.ones(1),), order=3)


def test_a_wrong_rule_is_found_and_named():
    wrong = ad.primitive("wrong", np.sin, (lambda g, out, x: g * np.cos(x) * 1.001,))
    with pytest.raises(AssertionError, match=r"sine: leaf 0, entry \(0,\): the VJP gives .* the finite difference"):
        ad.check_gradients(wrong, (np.ones(2),), name="sine")
    bent = ad.primitive("bent", np.sin, (lambda g, out, x: g * ad.stop_gradient(np.cos(x)),))
    ad.check_gradients(bent, (np.ones(2),), order=1)
    with pytest.raises(AssertionError, match="gradient of f: leaf 0"):
        ad.check_gradients(bent, (np.ones(2),))
