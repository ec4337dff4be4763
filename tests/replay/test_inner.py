"""NumPy's inner loops by address: the ufunc's bits, and none where an object is not laid out as it is known to be."""

import ctypes

import numpy as np
import pytest

from metagrad.replay import inner, library
from metagrad.replay.inner import InnerLoop, call, inner_loop, power
from metagrad.replay.library import library_power
from metagrad.xp import rng

KINDS = ["f8", "f4"]
ONE = [np.exp, np.log1p, np.tanh, np.log, np.sin, np.cos, np.expm1, np.arctan, np.sqrt, np.square]
TWO = [np.add, np.power, np.maximum, np.minimum, np.logaddexp, np.arctan2, np.hypot]


@pytest.fixture
def forgotten(monkeypatch):
    """Let no loop be known."""
    monkeypatch.setattr(inner, "_KNOWN", {})


def entries(seed, n, kind):
    draw = rng(seed, "inner")
    x = draw.standard_normal(n) * 10.0 ** draw.uniform(-12, 5, n)
    at = draw.random(n) < 0.1
    x[at] = draw.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1e300], at.sum())
    with np.errstate(over="ignore"):
        return x.astype(kind)


def same(a, b):
    """Whether two arrays have the same bits, but for those of NaN."""
    nan = np.isnan(b)
    return np.array_equal(np.isnan(a), nan) and a[~nan].tobytes() == b[~nan].tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ufunc", ONE + TWO, ids=lambda u: u.__name__)
@np.errstate(all="ignore")
def test_entries_have_the_bits_of_the_ufunc(ufunc, kind):
    loop = inner_loop(ufunc, (kind,) * (ufunc.nin + 1))
    assert loop is not None
    for seed, n in enumerate((1, 2, 5, 16, 33, 200, 1000)):
        given = [entries(seed + 50 * i, n, kind) for i in range(ufunc.nin)]
        out = np.empty(n, kind)
        call(loop, (*given, out), (n,), [x.itemsize for x in (*given, out)])
        assert same(out, ufunc(*given))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ufunc", [np.exp, np.tanh, np.maximum, np.power], ids=lambda u: u.__name__)
@np.errstate(all="ignore")
def test_entries_apart_and_spread(ufunc, kind):
    loop = inner_loop(ufunc, (kind,) * (ufunc.nin + 1))
    wide, one = entries(0, 120, kind), entries(1, 1, kind)
    given = [wide[::3], *[np.broadcast_to(one, 40)] * (ufunc.nin - 1)]
    out = np.empty(80, kind)[::2]
    call(loop, (*given, out), (40,), [*[x.strides[0] for x in given], out.strides[0]])
    assert same(out, ufunc(*given))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turned", ["neither", "first", "second", "both", "result"])
@pytest.mark.parametrize(
    "sizes",
    [
        (1, 1, 1, 1),
        (1, 7, 5, 3),
        (4, 1, 6, 5),
        (4, 6, 5, 1),
        (3, 5, 1, 2),
        (2, 40, 33, 65),
        (1, 1, 64, 1),
        (3, 1, 9, 1),
    ],
)
def test_products_have_the_bits_of_matmul(sizes, turned, kind):
    loop = inner_loop(np.matmul, (kind,) * 3)
    assert loop is not None
    count, n, k, m = sizes
    draw = rng(sum(sizes), "products")

    def lying(x, is_turned):
        return np.ascontiguousarray(np.swapaxes(x, 1, 2)).swapaxes(1, 2) if is_turned else x

    x = lying(draw.standard_normal((count, n, k)).astype(kind), turned in ("first", "both"))
    y = lying(draw.standard_normal((count, k, m)).astype(kind), turned in ("second", "both"))
    out, expected = (lying(np.empty((count, n, m), kind), turned == "result") for _ in range(2))
    steps = [a.strides[0] for a in (x, y, out)] + [s for a in (x, y, out) for s in a.strides[1:]]
    call(loop, (x, y, out), (count, n, k, m), steps)
    np.matmul(x, y, out=expected)
    assert out.tobytes() == expected.tobytes()


def test_a_spread_operand_of_a_product():
    loop = inner_loop(np.matmul, ("f8",) * 3)
    draw = rng(0, "spread")
    x, y, out = draw.standard_normal((5, 4, 3)), draw.standard_normal((3, 6)), np.empty((5, 4, 6))
    call(
        loop, (x, y, out), (5, 4, 3, 6), [x.strides[0], 0, out.strides[0], *x.strides[1:], *y.strides, *out.strides[1:]]
    )
    assert out.tobytes() == (x @ y).tobytes()


def test_what_has_no_loop(forgotten):
    assert inner_loop(np.exp, ("f8", "f4")) is None
    assert inner_loop(np.exp, ("i8", "i8")) is None
    assert inner_loop(np.vecdot, ("f8",) * 3) is None  # a signature that is not known
    assert inner_loop(np.modf, ("f8",) * 3) is None  # of two results
    assert inner_loop(np.frompyfunc(lambda x: x, 1, 1), ("f8", "f8")) is None
    assert inner_loop(np.sum, ("f8", "f8")) is None
    assert inner_loop(object(), ("f8", "f8")) is None


@pytest.mark.parametrize("name", ["nin", "nout", "nargs", "ntypes", "name"])
def test_objects_that_are_laid_out_otherwise(name, forgotten, monkeypatch):
    """Where a field lies elsewhere, it says something else than the ufunc does."""
    fields = [(key, of) for key, of in inner._Ufunc._fields_ if key != name]
    at = [key for key, _ in fields].index("identity" if name != "name" else "functions")
    type_of = dict(inner._Ufunc._fields_)[name]
    fields.insert(at + (name != "name"), (name, type_of))

    class Otherwise(ctypes.Structure):
        _fields_ = fields

    assert inner_loop(np.exp, ("f8", "f8")) is not None
    inner._KNOWN.clear()
    if name == "name":  # a pointer to functions is no text that could be read
        monkeypatch.setattr(inner._Ufunc, "name", property(lambda self: b"another"))
    else:
        monkeypatch.setattr(inner, "_Ufunc", Otherwise)
    assert inner_loop(np.exp, ("f8", "f8")) is None


def test_objects_of_another_build_of_python(forgotten, monkeypatch):
    class Longer(ctypes.Structure):
        _fields_ = [("more", ctypes.c_ssize_t), *inner._Ufunc._fields_]

    monkeypatch.setattr(inner, "_Ufunc", Longer)
    assert inner_loop(np.exp, ("f8", "f8")) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("asked", "found"), [(np.exp, np.exp2), (np.maximum, np.fmax), (np.matmul, None), (np.log1p, np.log)]
)
def test_loops_that_are_another_functions(asked, found, kind, forgotten, monkeypatch):
    """What an object holds is tried before it is used."""
    read, kinds = inner._read, (kind,) * (asked.nin + 1)

    def other(ufunc, kinds):
        if found is not None:
            return read(found, kinds)
        return _products_the_other_way(kinds[0])

    monkeypatch.setattr(inner, "_read", other)
    assert inner_loop(asked, kinds) is None
    monkeypatch.setattr(inner, "_read", read)
    inner._KNOWN.clear()
    assert inner_loop(asked, kinds) is not None


def _products_the_other_way(kind):
    """Return the address of a loop that leaves a product as it is."""
    made = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(lambda *given: None)
    _ALIVE.append(made)
    return InnerLoop(ctypes.cast(made, ctypes.c_void_p).value, 0)


_ALIVE = []


@pytest.mark.parametrize("kind", KINDS)
@np.errstate(all="ignore")
def test_the_librarys_power(kind):
    """NumPy's numbers ask the C library for powers: the loop over its calls has their bits."""
    power = library_power(kind)
    if power is None:
        pytest.skip("the C library cannot be asked")
    loop, n = inner_loop(power, (kind,) * 3), 500
    x, y = entries(0, 2 * n, kind)[::2], entries(1, n, kind)
    out = np.empty(3 * n, kind)[::3]
    call(loop, (x, y, out), (n,), [a.strides[0] for a in (x, y, out)])
    assert same(out, np.array([a**b for a, b in zip(x, y, strict=True)], kind))


def test_a_system_without_such_a_library(monkeypatch):
    """Then powers of numbers are left to NumPy where np.power has other bits."""
    library_power.cache_clear()
    power.cache_clear()
    monkeypatch.setitem(library._NAMES, "f8", ("no_such_function", ctypes.c_double))
    assert library_power("f8") is None
    assert power(3, "f8", is_array=False) in (None, np.power)
    library_power.cache_clear()
    power.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_array", [False, True])
@pytest.mark.parametrize("exponent", [0.5, 2, 2.0, -1, 3, 1.5, -0.5, 4])
@np.errstate(all="ignore")
def test_powers_of_numbers(exponent, is_array, kind):
    """What stands for x ** exponent has its bits for all numbers, or there is none."""
    ufunc = power(exponent, kind, is_array=is_array)
    if is_array or exponent in (3, 1.5, -0.5, 4):
        assert ufunc is not None
    if ufunc is None:
        return
    x = (10.0 ** rng(0, "powers").uniform(-6, 6, 5000)).astype(kind)
    x[:9] = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.5, -4.0, 1e-38, 1e30]
    found = ufunc(x, *[x.dtype.type(exponent)] * (ufunc.nin - 1))
    assert same(found, np.array([(np.array(n) if is_array else n) ** exponent for n in x], kind))
