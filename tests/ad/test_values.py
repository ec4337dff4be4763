"""What a traced value is beside its derivative: formats, attributes, copies, comparisons, calls by keyword, trees."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from scipy import sparse

import metagrad as mg
from metagrad import ad
from metagrad.ad.table import CONSTANT, load_late
from metagrad.xp import rng
from tests.cupy_double.double import SYNCS, DoubleArray

load_late()  # the families that import SciPy
X = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])


def traced(f, x=X):
    """Return what f makes of a traced value."""
    found = []
    ad.vjp(lambda v: (found.append(f(v)), v)[1], x)
    return found[0]


@pytest.mark.parametrize("x", [1.23456, np.float64(1.23456), np.array(1.23456), np.float32(1.23456)])
@pytest.mark.parametrize("spec", [".3f", "8.2e", "g", "+.1f", ">10.4f", "%"])
def test_numbers_are_formatted_as_they_are_untraced(x, spec):
    assert traced(lambda v: format(v, spec), x) == format(x, spec)
    assert traced(lambda v: f"loss {v:{spec}}", x) == f"loss {x:{spec}}"
    assert traced(lambda v: f"loss {v * 2.0:{spec}}".upper(), x) == f"loss {x * 2.0:{spec}}".upper()
    assert traced(f"{{:{spec}}}".format, x) == f"{{:{spec}}}".format(x)


def test_arrays_are_printed(capsys):
    assert "[ 1.  , -2.  ,  0.5 ]" in traced(str)
    assert traced(lambda v: f"{v}") == traced(repr) == traced(lambda v: "%s" % v)  # noqa: UP031
    assert traced(repr, 1.5) == "Var(1.5, from a leaf)"
    traced(print)
    assert "from a leaf" in capsys.readouterr().out
    with pytest.raises(TypeError, match=r"unsupported format string passed to numpy\.ndarray"):
        traced(lambda v: f"{v:.3f}")
    assert traced(np.array2string) == np.array2string(X)
    assert traced(np.array_repr) == np.array_repr(X)
    assert traced(np.array_str) == np.array_str(X)


ATTRIBUTES = {
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "size": lambda x: x.size,
    "dtype": lambda x: x.dtype,
    "nbytes": lambda x: x.nbytes,
    "itemsize": lambda x: x.itemsize,
    "device": lambda x: x.device,
    "flags": lambda x: x.flags.c_contiguous,
    "len": len,
    "in": lambda x: 3.0 in x,
    "not in": lambda x: 4.0 in x,
    "nonzero": lambda x: [i.tolist() for i in x.nonzero()],
    "imag": lambda x: x.imag.tolist(),
    "== None": lambda x: (x == None).tolist(),  # noqa: E711
    "!= None": lambda x: (x != None).tolist(),  # noqa: E711
    "is None": lambda x: x is None,
    "isinstance": lambda x: isinstance(x, float),
    "comparisons": lambda x: np.logical_and(x > 0, x < 1).tolist(),
    "in a list": lambda x: any(x is y for y in [1, x]),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_those_of_the_array(name):
    if name == "nonzero" and np.nonzero not in CONSTANT:
        pytest.skip("the table has no nonzero")
    assert traced(ATTRIBUTES[name]) == ATTRIBUTES[name](X)


METHODS = {
    "real": lambda x: x.real,
    "conj": lambda x: x.conj(),
    "conjugate": lambda x: x.conjugate(),
    "imag": lambda x: x.imag + x,
    "to_device": lambda x: x.to_device("cpu"),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "copy": lambda x: x.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "a deep copy of a tree": lambda x: copy.deepcopy({"w": [x]})["w"][0],
    "a copy of a tree": lambda x: copy.copy({"w": x})["w"],
    "flatten": lambda x: x.flatten(),
    "list": lambda x: sum(list(x)),
    "unpacking": lambda x: np.multiply(*x),
    "max of Python": lambda x: max(x[0]) * min(x[1]),
    "sorted of Python": lambda x: sorted(x[0], reverse=True)[0],
    "sum of Python": lambda x: sum(x[0]),
    "enumerate": lambda x: sum(i * row for i, row in enumerate(x)),
    "zip": lambda x: sum(a * b for a, b in zip(x[0], x[1], strict=True)),
    "reversed": lambda x: next(iter(reversed(list(x)))),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_value_and_the_derivative(name):
    f = METHODS[name]
    out, _ = ad.vjp(f, X)
    assert np.array_equal(out, f(X))
    ad.check_gradients(lambda x: np.sin(f(x)) * f(x), (X,))


@pytest.mark.parametrize("name", ["copy.copy", "copy.deepcopy", "real", "conj", "copy"])
@pytest.mark.parametrize("x", [1.5, np.float64(1.5), np.array(1.5), np.float32(1.5)])
def test_so_have_numbers(name, x):
    if type(x) is float and name not in ("copy.copy", "copy.deepcopy"):
        assert ad.grad(lambda v: METHODS[name](v) * v)(x) == 3.0
        return
    assert ad.grad(lambda v: METHODS[name](v) * METHODS[name](v))(x) == 3.0
    assert ad.grad(ad.grad(lambda v: METHODS[name](v) ** 3))(x) == 9.0


def test_a_copy_is_no_leaf_that_is_written_into():
    def f(x):
        y = copy.copy(x)
        y += 1.0
        z = copy.deepcopy(x)
        z *= 2.0
        return y * z

    assert ad.grad(f)(3.0) == 2 * (2 * 3.0 + 1.0)


def test_a_number_is_no_sequence():
    for x in (1.5, np.float64(1.5), np.array(1.5)):
        for f in (iter, list, lambda v: [*v], lambda v: np.stack([*v])):
            with pytest.raises(TypeError, match=r"iteration over a traced value with no axes.*np\.atleast_1d"):
                traced(f, x)
        with pytest.raises(TypeError, match="no axes"):
            traced(len, x)


def test_what_cannot_be_kept_is_refused():
    for f, match in (
        (pickle.dumps, r"pickling of x.*stop_gradient"),
        (lambda v: pickle.dumps({"w": [v]}), r"pickling of x.*stop_gradient"),
        (hash, r"hash\(x\), a key of a dict"),
        (lambda v: dict.fromkeys([v]), r"hash\(x\)"),
    ):
        with pytest.raises(TypeError, match=match):
            traced(f)


ABSENT = {
    "summ": r"x\.summ: x is traced by metagrad\.ad, and has no attribute 'summ'; arrays have .* Did you mean 'sum'",
    "resape": r"Did you mean 'reshape'",
    "numpy": "arrays have none either",
    "requires_grad": "arrays have none either",
    "ctypes": "which arrays have",
    "data": "which arrays have",
    "base": "which arrays have",
}


@pytest.mark.parametrize("name", ABSENT)
def test_an_attribute_that_is_not_there(name):
    with pytest.raises(AttributeError, match=ABSENT[name]):
        traced(lambda v: getattr(v, name))
    assert traced(lambda v: hasattr(v, name)) is False
    assert traced(lambda v: getattr(v, name, 5)) == 5
    with pytest.raises(AttributeError):
        traced(lambda v: setattr(v, name, 5))


def test_on_a_device():
    x = DoubleArray(X)
    before = SYNCS.count
    out, pullback = ad.vjp(lambda v: copy.copy(v.real.conj()) * copy.deepcopy(v), x)
    assert type(out) is type(pullback(out)[0]) is DoubleArray
    assert traced(lambda v: v.nbytes + v.itemsize, x) == 56
    assert SYNCS.count == before
    assert traced(lambda v: f"{v[0, 0]:.2f}", x) == "1.00"
    S = sparse.csr_array(np.eye(2))
    for f in (lambda v: S @ v, lambda v: v.T @ S):
        with pytest.raises(
            TypeError, match=r"S is a csr_array of SciPy on the host, while x is on a device.*toarray\(\)"
        ):
            ad.vjp(f, x)


# Calls of what has no derivative.

ARGUMENTS = {
    np.isclose: (X, X + 1e-9),
    np.allclose: (X, X),
    np.array_equal: (X, X),
    np.result_type: (X, X),
    np.argpartition: (X, 1),
    np.searchsorted: (np.array([1.0, 2.0]), X),
    np.digitize: (X, np.array([0.0, 1.0])),
    np.floor_divide: (X, 2.0),
    np.full_like: (X, 2.0),
    np.array_equiv: (X, X),
    np.isin: (X, np.array([1.0])),
    np.histogram_bin_edges: (X, 4),
    np.shares_memory: (X, X),
    np.may_share_memory: (X, X),
    np.diag_indices_from: (X @ X.T,),
    np.einsum_path: ("ij,kj", X, X),
}


def plain_of(function):
    """Return arguments of a function without derivative."""
    if function in ARGUMENTS:
        return ARGUMENTS[function]
    return (X,) * function.nin if isinstance(function, np.ufunc) else (X,)


def outcome(f):
    try:
        return f()
    except Exception as error:
        return error


def same(a, b):
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) and a.dtype.kind == "f":
        return np.array_equal(a, b, equal_nan=True) and type(a) is type(b)
    return np.array_equal(a, b) and type(a) is type(b)


@pytest.mark.parametrize("function", sorted(CONSTANT, key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_constant_functions_by_place_by_name_and_in_sequences(function):
    args = plain_of(function)
    expected = outcome(lambda: function(*args))
    if isinstance(expected, Exception):
        pytest.skip("it takes other arguments")
    if function is np.empty_like:
        assert traced(function).shape == X.shape
        assert traced(lambda v: function(prototype=v)).shape == X.shape
        return
    for k, arg in enumerate(args):
        if type(arg) is not np.ndarray:
            continue
        assert same(traced(lambda v, k=k: function(*args[:k], v, *args[k + 1 :]), arg), expected)
    names = names_of(function, len(args))
    if names:
        given = dict(zip(names, args, strict=True))
        for name, arg in given.items():
            if type(arg) is np.ndarray:
                assert same(traced(lambda v, name=name: function(**{**given, name: v}), arg), expected)
    if type(args[0]) is np.ndarray and args[0].ndim == 2 and not isinstance(function, np.ufunc):
        for sequence in (list, tuple):
            untraced = outcome(lambda sequence=sequence: function(sequence(args[0]), *args[1:]))
            found = outcome(lambda sequence=sequence: traced(lambda v: function(sequence(v), *args[1:]), args[0]))
            refused = isinstance(found, Exception) and "np.stack" in str(found)
            assert refused or isinstance(untraced, Exception) or same(found, untraced)
            assert "recursion" not in str(found)


def names_of(function, count):
    try:
        parameters = list(inspect.signature(function).parameters.values())[:count]
    except ValueError:
        return None
    by_name = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) and len(parameters) == count
    return [p.name for p in parameters] if by_name else None


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.argsort(a=x),
        lambda x: np.argsort(a=x, axis=0),
        lambda x: np.shape(a=x),
        lambda x: np.ndim(a=x),
        lambda x: np.size(a=x),
        lambda x: np.max(a=x),
        lambda x: np.sum(a=x, axis=1),
        lambda x: np.zeros_like(a=x),
        lambda x: np.argmax(a=x, axis=-1),
        lambda x: np.all(a=x > 0),
        lambda x: np.allclose(a=x, b=x),
        lambda x: np.clip(a=x, a_min=0.0, a_max=1.0),
        lambda x: np.reshape(x, shape=(3, 2)),
        lambda x: np.transpose(a=x),
        lambda x: np.mean(a=x, axis=0),
    ],
)
def test_calls_by_keyword(f):
    found = traced(f)
    assert np.array_equal(found.value if type(found) is ad.Var else found, f(X))


# Lists and dicts as parameters.

A, B = rng(0, "inputs").standard_normal((8, 3)), rng(1, "targets").standard_normal(8)


def losses(W, b, c):
    """Return the losses of a small network, one a task."""
    hidden = np.tanh(A @ W)
    return np.mean((np.einsum("bnh,bh->bn", hidden, b) + c[:, None] - B) ** 2, axis=-1)


TREES = {
    "tuple": (lambda W, b, c: (W, b, c), lambda w: w),
    "dict": (lambda W, b, c: {"W": W, "b": b, "c": c}, lambda w: (w["W"], w["b"], w["c"])),
    "dict in another order": (lambda W, b, c: {"c": c, "b": b, "W": W}, lambda w: (w["W"], w["b"], w["c"])),
    "list": (lambda W, b, c: [W, b, c], tuple),
    "nested": (
        lambda W, b, c: {"layers": [{"W": W}, [b]], "rest": (c, None)},
        lambda w: (w["layers"][0]["W"], w["layers"][1][0], w["rest"][0]),
    ),
}
RULES = {
    "GradientDescent": (mg.GradientDescent(), 0.1),
    "Momentum": (
        mg.Momentum(),
        mg.Momentum.Phi(0.05, 0.8),
    ),
    "Adam": (mg.Adam(), mg.Adam.Phi(0.05, 0.9, 0.99, 1e-6)),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", [0, 1])
def test_parameters_are_trees(tree, rule, seed):
    build, split = TREES[tree]
    optimizer, phi = RULES[rule]
    stream = rng(seed, "start")
    start = tuple(0.4 * stream.standard_normal(shape) for shape in ((2, 3, 4), (2, 4), (2,)))
    task = mg.FunctionTask(lambda w: losses(*split(w)), build(*start))
    plain = mg.FunctionTask(lambda w: losses(*w), start)
    found, expected = [mg.meta_gradient(t, optimizer, mg.Final(), phi, steps=6, seed=seed).grad for t in (task, plain)]
    for x, y in zip(found, expected, strict=True):
        assert x.to_float() == y.to_float()
    of_task = mg.meta_gradient(task, optimizer, mg.Final(), phi, steps=6, method="forward").grad
    for x, y in zip(of_task, expected, strict=True):
        np.testing.assert_allclose(x.to_float(), y.to_float(), rtol=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_meta_parameters_are_trees_of_python_floats(rule):
    optimizer, phi = RULES[rule]
    start = 0.3 * rng(0, "start").standard_normal((2, 3))

    def loss(w, theta):
        error = np.mean((w @ A.T - B) ** 2, axis=-1) * theta["weights"][0]
        return error + np.exp(theta["decay"]) * np.sum(w * w, axis=-1) + theta["weights"][1][0] * np.sum(w**4, axis=-1)

    def value(decay, first, second):
        theta = {"decay": decay, "weights": [first, (second, None)]}
        task = mg.FunctionTask(loss, start, validation=lambda w: np.mean((w @ A.T - B) ** 2, axis=-1), theta=theta)
        return mg.meta_gradient(task, optimizer, mg.Final("validation"), mg.Joint(rule=phi, task=theta), steps=5)

    at = (-1.0, 0.9, 0.05)
    grad = value(*at).grad.task
    assert list(grad) == ["decay", "weights"]
    found = [x.to_float() for x in (grad["decay"], grad["weights"][0], grad["weights"][1][0])]
    for k, slope in enumerate(found):
        h = 1e-6
        up, down = (value(*(x + s * (i == k) for i, x in enumerate(at))).value.to_float().mean() for s in (h, -h))
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-5, atol=1e-8)


def test_a_number_as_a_start_is_told_to_be_one_a_task():
    with pytest.raises((TypeError, ValueError), match=r"FunctionTask: w0.*\(B, "):
        mg.FunctionTask(
            lambda w: losses(w["W"], w["b"], w["c"]), {"W": np.ones((1, 3, 4)), "b": np.ones((1, 4)), "c": 0.1}
        )


@pytest.mark.parametrize("tree", [(1.5, [2.0]), {"b": 1.5, "a": [2.0, None]}, [1.5, {"x": (2.0,)}]])
def test_python_floats_as_leaves(tree):
    def f(tree):
        first, second = ad.leaves(tree)
        return np.sin(first) * second**2 + first

    first, second = ad.leaves(tree)
    slopes = ad.leaves(ad.grad(f)(tree))
    np.testing.assert_allclose(slopes, [np.cos(first) * second**2 + 1, 2 * np.sin(first) * second], rtol=1e-15)
    assert ad.paths(ad.grad(f)(tree)) == ad.paths(tree)
    ad.check_gradients(f, (tree,))
