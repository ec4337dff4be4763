"""Every function of the table: values, derivatives of two orders, linearity, dtypes, and that it has a domain."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import ad
from metagrad.ad import table
from metagrad.ad.domains import DOMAINS, Draw, as_reals, draw
from metagrad.xp import GRADIENT_TOLERANCE, VALUE_TOLERANCE, rng
from tests.ad.examples import every_case

CASES = [(function, i) for function, examples in DOMAINS.items() for i in range(len(examples))]
FLOATS = ("float16", "float32")


def arguments(function, index, dtype="float64"):
    """Return one example's arguments, and the function of its arrays alone."""
    example = DOMAINS[function][index]
    full = draw(example, rng(0, function.__name__, index))
    where = [i for i, item in enumerate(example) if is_drawn(item)]
    arrays = tuple(ad.tree_map(lambda x: x.astype(dtype), full[i]) for i in where)

    def of_arrays(*values):
        args = list(full)
        for i, value in zip(where, values, strict=True):
            args[i] = value
        return as_reals(function(*args))

    return of_arrays, arrays


def is_drawn(item):
    return isinstance(item, Draw) or (isinstance(item, tuple) and any(isinstance(x, Draw) for x in item))


def random_like(tree, stream):
    return ad.tree_map(lambda x: np.asarray(stream.standard_normal(np.shape(x))).astype(x.dtype), tree)


def agree(found, expected, tolerance):
    for x, y in zip(ad.leaves(found), ad.leaves(expected), strict=True):
        assert np.shape(x) == np.shape(y)
        scale = np.max(np.abs(y), initial=0.0)
        assert np.all(np.abs(x - y) <= tolerance * scale)


def test_every_function_has_a_domain_and_every_domain_a_function():
    table.load_late()
    own = {ad.sigmoid, ad.relu, ad.logsumexp, ad.log_softmax, ad.softmax}
    assert set(table.FUNCTIONS) | own == set(DOMAINS)


@every_case
def test_values_are_those_of_numpy(function, index):
    f, args = arguments(function, index)
    traced, _ = ad.vjp(f, *args)
    agree(traced, f(*args), VALUE_TOLERANCE["float64"])


@every_case
def test_derivatives_of_order_one_and_two(function, index):
    f, args = arguments(function, index)
    report = ad.check_gradients(f, args, name=function.__name__)
    assert report.finite_difference < 1e-8


@every_case
@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes_are_kept(function, index, dtype):
    if function is np.astype:
        pytest.skip("its purpose is another dtype")
    f, args = arguments(function, index, dtype)
    try:
        expected = f(*args)
    except (TypeError, ValueError):  # NumPy's linear algebra refuses float16, SciPy's special functions some; so do we
        with pytest.raises((TypeError, ValueError)):
            ad.vjp(f, *args)
        return
    out, pullback = ad.vjp(f, *args)
    assert [x.dtype for x in ad.leaves(out)] == [x.dtype for x in ad.leaves(expected)]
    grads = pullback(random_like(out, rng(1)))
    assert {x.dtype for x in ad.leaves(grads)} == {np.dtype(dtype)}
    assert [np.shape(x) for x in ad.leaves(grads)] == [x.shape for x in ad.leaves(args)]


@every_case
def test_narrow_gradients_approach_wide_ones(function, index):
    f, args = arguments(function, index, "float32")
    out, pullback = ad.vjp(f, *args)
    u = random_like(out, rng(2))
    wide = ad.tree_map(lambda x: x.astype("float64"), (args, u))
    expected = ad.vjp(f, *wide[0])[1](wide[1])
    # The condition: products of numbers around 1, at most a dozen of them summed.
    agree(pullback(u), expected, 10 * GRADIENT_TOLERANCE["float32"])


@every_case
def test_arguments_come_by_name_and_as_numbers_of_numpy_too(function, index):
    f, args = arguments(function, index)
    expected = f(*args)
    full = draw(DOMAINS[function][index], rng(0, function.__name__, index))
    where = [i for i, item in enumerate(DOMAINS[function][index]) if is_drawn(item)]

    def called(*values):
        given = [np.int64(x) if type(x) is int else x for x in full]
        for i, value in zip(where, values, strict=True):
            given[i] = value
        out = function(*given) if names is None else function(**dict(zip(names, given, strict=False)))
        return as_reals(out)

    names = None
    if not isinstance(function, np.ufunc):  # on a ufunc an int64 is an operand
        agree(ad.vjp(called, *args)[0], expected, VALUE_TOLERANCE["float64"])
    names = names_of(function, len(full))
    if names is not None:
        agree(ad.vjp(called, *args)[0], expected, VALUE_TOLERANCE["float64"])


def names_of(function, count):
    """Return the names of the first parameters; None where they have no names, or go by place alone."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[:count]
    except ValueError:
        return None
    by_name = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) and len(parameters) == count
    return [p.name for p in parameters] if by_name else None


@every_case
def test_python_floats_are_as_good_as_arrays_without_axes(function, index):
    f, args = arguments(function, index)
    if any(isinstance(x, tuple) or x.shape for x in args):
        return
    numbers = tuple(float(x) for x in args)
    (out, pullback), (expected, pullback_of_arrays) = ad.vjp(f, *numbers), ad.vjp(f, *args)
    agree(out, expected, VALUE_TOLERANCE["float64"])
    u = random_like(expected, rng(1))
    agree(pullback(u), pullback_of_arrays(u), GRADIENT_TOLERANCE["float64"])


@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**16), a=st.floats(-4, 4), b=st.floats(-4, 4))
def test_every_vjp_is_linear_in_its_cotangent(case, seed, a, b):
    f, args = arguments(*case)
    out, pullback = ad.vjp(f, *args)
    u, v = random_like(out, rng(seed, "u")), random_like(out, rng(seed, "v"))
    together = pullback(ad.tree_map(lambda x, y: a * x + b * y, u, v))
    apart = ad.tree_map(lambda x, y: a * x + b * y, pullback(u), pullback(v))
    size = ad.tree_map(lambda x, y: abs(a) * np.abs(x) + abs(b) * np.abs(y), pullback(u), pullback(v))
    for x, y, s in zip(ad.leaves(together), ad.leaves(apart), ad.leaves(size), strict=True):
        assert np.all(np.abs(x - y) <= 10 * GRADIENT_TOLERANCE["float64"] * np.max(s, initial=0.0))


@given(case=st.sampled_from(CASES), power=st.integers(-900, 900))
def test_a_power_of_two_on_the_cotangent_comes_out_exactly(case, power):
    # What the scaled adjoint rests on: no rule adds to, or branches on, its cotangent.
    f, args = arguments(*case)
    out, pullback = ad.vjp(f, *args)
    u = random_like(out, rng(3))
    for x, y in zip(
        ad.leaves(pullback(ad.tree_map(lambda c: np.ldexp(c, power), u))), ad.leaves(pullback(u)), strict=True
    ):
        assert np.array_equal(x, np.ldexp(y, power))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_arrays(shape):
    x = np.zeros(shape)
    for f in (np.sum, np.exp, lambda v: v * 2.0, lambda v: np.sum(v, axis=0), lambda v: v.T, np.prod):
        assert ad.grad(f)(x).shape == shape
    assert ad.vjp(np.matmul, np.zeros((0, 3)), np.ones((3, 2)))[1](np.zeros((0, 2)))[1].tolist() == [[0.0] * 2] * 3
