"""What NumPy would write through a view is refused; what is written nowhere else is another value, as ever."""

import numpy as np
import pytest
import scipy.linalg
import scipy.special

from metagrad import ad
from metagrad.guard import WrittenError

X = np.array([[1.0, 2.0], [3.0, 4.0]])


def rows(W):
    W = W * 1.0
    for w in W:
        w /= np.sum(w)  # noqa: PLW2901
    return np.sum(W**2)


def part(x):
    y = x * 1.0
    z = y[1:]
    z *= 3.0
    return np.sum(y)


def turned(x):
    y = x * 1.0
    z = y.T
    z += 1.0
    return np.sum(y * y)


def of_an_argument(x):
    z = x.T
    z *= 2.0
    return np.sum(x * x)


def raveled(x):
    y = x * 1.0
    z = np.ravel(y)
    z /= 2.0
    return np.sum(y)


@pytest.mark.parametrize("f", [rows, part, turned, of_an_argument, raveled])
def test_a_view_of_what_is_known_elsewhere_is_not_written_into(f):
    with pytest.raises(WrittenError, match=r"on a view, made by .* Write x = x . y"):
        ad.grad(f)(X)


def of_its_own(x):
    z = np.squeeze((x * 2.0)[None])
    z += 1.0
    column = (x @ x)[:, 0]
    column *= 2.0
    return np.sum(z * z) + np.sum(column)


def test_a_view_that_nobody_else_knows_is_a_value_of_its_own():
    value, slope = ad.value_and_grad(of_its_own)(X)
    assert value == of_its_own(X)
    ad.check_gradients(of_its_own, (X,))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("f", [np.log, np.log2, np.log10, np.log1p, scipy.special.gammaln])
def test_outside_of_a_domain_the_derivative_is_no_number(f):
    with np.errstate(all="ignore"):
        value, slope = ad.value_and_grad(lambda x: np.sum(f(x)))(np.array([0.5, -2.5]))
    if np.isnan(value):
        assert np.isnan(slope[1])
    assert np.isfinite(slope[0])


def test_an_infinite_entry_leaves_logsumexp_without_a_slope():
    x = np.array([np.inf, 0.0])
    with np.errstate(all="ignore"):
        value, slope = ad.value_and_grad(scipy.special.logsumexp)(x)
    assert value == np.inf
    assert np.isnan(slope[0])
    assert type(ad.vjp(scipy.special.logsumexp, np.ones(2))[0]) is np.float64


def test_gradients_of_lstsq_come_in_the_dtype_of_the_leaf():
    a, b = np.array([[1.0, 2.0], [3.0, 5.0], [0.5, 1.0]], "float32"), np.ones(3)
    for f in (lambda z: np.linalg.lstsq(z, b, rcond=None)[0].sum(), lambda z: scipy.linalg.lstsq(z, b)[0].sum()):
        assert ad.grad(f)(a).dtype == "float32"


def test_leaves_of_objects_are_refused():
    with pytest.raises(TypeError, match="an array of object"):
        ad.grad(np.sum)(np.array([1.0, 2.0], dtype=object))


@pytest.mark.parametrize(
    "f", [lambda x: np.sum(np.sin(x) ** 2 + np.cos(x) ** 2), lambda x: np.sum(np.linalg.solve(x, x))]
)
def test_what_cancels_passes_the_check_of_gradients(f):
    ad.check_gradients(f, (X + np.eye(2),))
