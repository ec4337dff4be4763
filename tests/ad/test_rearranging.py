"""Moving, joining, cutting and picking entries: NumPy's values over their options, methods, indices, and bad input."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import rng

MASK = np.array([[True, False, True], [False, False, True]])
SEEDS = (0, 1)


def array(seed):
    return rng(seed, "rearranging").standard_normal((2, 3))


def same(found, expected):
    """Assert that a traced function gives what NumPy does: the same bits, shapes and dtypes."""
    found, expected = ([x] if not isinstance(x, list | tuple) else x for x in (found, expected))
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        assert np.array_equal(x, y)
        assert (np.shape(x), np.asarray(x).dtype) == (np.shape(y), np.asarray(y).dtype)


def check(f, x):
    traced = lambda v: tuple(out) if isinstance(out := f(v), list) else out  # noqa: E731
    same(ad.vjp(traced, x)[0], f(x.copy()))
    if all(np.asarray(leaf).dtype == np.float64 for leaf in ad.leaves(traced(x))):
        assert ad.check_gradients(traced, (x,)).finite_difference < 1e-8


OPTIONS = {
    "roll of lists": lambda x: np.roll(x, [1, 2], axis=[0, 1]),
    "roll twice along one axis": lambda x: np.roll(x, (1, 1), (0, 0)),
    "roll of all entries": lambda x: np.roll(x, (1, 2)),
    "tile in front": lambda x: np.tile(x, [2, 1, 1]),
    "tile to nothing": lambda x: np.tile(x, 0),
    "repeat with counts": lambda x: np.repeat(x, np.array([1, 0, 2]), axis=1),
    "repeat with one count": lambda x: np.repeat(x, [2], axis=1),
    "hstack beside a list": lambda x: np.hstack([x, [[1.0], [2.0]]]),
    "hstack narrow": lambda x: np.hstack((x, x), dtype="f4", casting="same_kind"),
    "vstack of rows": np.vstack,
    "vstack beside a list": lambda x: np.vstack([x, [1, 2, 3]]),
    "column_stack beside a list": lambda x: np.column_stack([x, [1.0, 2.0]]),
    "dstack beside an array": lambda x: np.dstack([x, np.ones((2, 3))]),
    "append a number": lambda x: np.append(x, 7.0),
    "append to a list": lambda x: np.append([1.0, 2.0], x),
    "concatenate narrow": lambda x: np.concatenate([x, x], dtype="f4", casting="same_kind"),
    "concatenate rows": np.concatenate,
    "concat": lambda x: np.concat([x, [[1, 2, 3]]], 0),
    "stack beside integers": lambda x: np.stack([x, np.ones((2, 3), int)], -1),
    "stack numbers": lambda x: np.stack([x[0, 0], 1.0, 2]),
    "block": lambda x: np.block([[x, np.ones((2, 1))], [np.zeros((1, 3)), 7.0]]),
    "block of a row": lambda x: np.block([x[0], x[1], 1.0]),
    "block of three levels": lambda x: np.block([[[x]], [[x]]]),
    "insert values": lambda x: np.insert(x, 1, [5.0, 6.0], axis=1),
    "insert at one place twice": lambda x: np.insert(x, [1, 1], [5.0, 6.0]),
    "insert one value often": lambda x: np.insert(x, [0, 2], 7.0, axis=1),
    "insert at a slice": lambda x: np.insert(x, slice(0, 2), [7.0, 8.0], axis=1),
    "insert from the end": lambda x: np.insert(x, -1, 9, axis=0),
    "insert a column": lambda x: np.insert(x, [1], [[5.0], [6.0]], axis=1),
    "insert at a scalar": lambda x: np.insert(x, 1, [[5.0], [6.0]], axis=1),
    "delete from the end": lambda x: np.delete(x, [0, -1]),
    "delete a slice": lambda x: np.delete(x, slice(0, 2), 1),
    "delete by a mask": lambda x: np.delete(x, [True, False, True], 1),
    "array_split": lambda x: np.array_split(x, 2, 1),
    "split at an array": lambda x: np.split(x, np.array([1]), axis=1),
    "split beyond the end": lambda x: np.split(x, [1, 5], 1),
    "unstack": lambda x: np.unstack(x, axis=1),
    "diag above": lambda x: np.diag(x[0], 1),
    "diagonal below": lambda x: np.diagonal(x, offset=np.int64(-1)),
    "trace narrow": lambda x: np.trace(x, dtype="f4"),
    "tril_indices_from": lambda x: x[np.tril_indices_from(x[:2, :2])],
    "pad with a number": lambda x: np.pad(x, 2, constant_values=5.0),
    "pad with numbers": lambda x: np.pad(x, ((1, 0), (2, 1)), constant_values=((1, 2), (3, 4))),
    "pad with a pair": lambda x: np.pad(x, (1, 2), "constant", constant_values=(7, 8)),
    "pad with a traced number": lambda x: np.pad(x, 1, constant_values=x[0, 0]),
    "pad an axis by name": lambda x: np.pad(x, ((0, 0), (1, 2))),
    **{
        f"pad far by {mode}": lambda x, mode=mode: np.pad(x, ((7, 5), (3, 8)), mode)
        for mode in ("edge", "reflect", "symmetric", "wrap")
    },
    "rot90 often": lambda x: np.rot90(x, 5, (1, 0)),
    "meshgrid ij sparse": lambda x: tuple(np.meshgrid(x[0], [1.0, 2.0], indexing="ij", sparse=True)),
    "meshgrid of three": lambda x: tuple(np.meshgrid(x[0], 2.0, x[1])),
    "broadcast_arrays": lambda x: tuple(np.broadcast_arrays(x, [1.0, 2.0, 3.0], 0.0)),
    "atleast_3d of two": lambda x: tuple(np.atleast_3d(x, 1.0)),
    "expand_dims": lambda x: np.expand_dims(x, [0, -1]),
    "permute_dims": lambda x: np.permute_dims(x, (1, 0)),
    "resize": lambda x: np.resize(x, (4, 5)),
    "ravel as it lies": lambda x: np.ravel(x.T, "A") + np.ravel(x, order="K"),
    "ravel by columns": lambda x: np.ravel(x.T, order="F"),
    "reshape by columns": lambda x: np.reshape(x, (3, 2), "F"),
    "reshape by name": lambda x: np.reshape(x, shape=(3, 2), order="C", copy=False),
    "choose": lambda x: np.choose([0, 1, 1], [x[0], x[1]]),
    "choose rows": lambda x: np.choose([0, 1, 1], x),
    "choose round": lambda x: np.choose([0, 5, -1], [x[0], x[1]], mode="wrap"),
    "choose clipped": lambda x: np.choose([0, 5, -1], [x[0], 2.0], mode="clip"),
    "select": lambda x: np.select([MASK, ~MASK & MASK[::-1]], [x**2, x], default=-1.0),
    "select of numbers": lambda x: np.select([MASK, True], [1.0, x]),
    "compress": lambda x: np.compress([0, 1], x, axis=0),
    "take round": lambda x: np.take(x, [9, -9], mode="wrap"),
    "take clipped": lambda x: np.take(x, [9, -9], mode="clip"),
    "take of a table": lambda x: np.take(x, [[0, 1]], axis=1),
    "take by booleans": lambda x: np.take(x, np.array([True, False])),
    "along an axis": lambda x: np.apply_along_axis(lambda row: row / np.sum(row * row), 1, x),
    "along an axis, more axes": lambda x: np.apply_along_axis(lambda row: np.outer(row, row), -1, x),
    "along an axis, arguments": lambda x: np.apply_along_axis(lambda row, k, n=1: row * k * n, 0, x, 3.0, n=2.0),
    "over axes": lambda x: np.apply_over_axes(np.mean, x, -1),
    "full_like in another shape": lambda x: np.full_like(x, x[0, 0], shape=(2, 2)),
    "copy": lambda x: np.copy(x, order="C") + x.copy("F"),
}

METHODS = {
    "take": lambda x: x.take(indices=[0, 2], axis=1, mode="clip"),
    "repeat": lambda x: x.repeat([1, 2], axis=0),
    "diagonal": lambda x: x.diagonal(1),
    "trace": lambda x: x.trace(1),
    "trace by place": lambda x: x.trace(0, 0, 1, "f4"),
    "compress": lambda x: x.compress([True, False], axis=0),
    "reshape": lambda x: x.reshape(3, 2, order="F"),
    "reshape to a tuple": lambda x: x.reshape((3, -1), order="A", copy=True),
    "reshape to an integer of NumPy": lambda x: x.reshape(np.int64(6)),
    "flatten": lambda x: x.flatten("F"),
    "ravel": lambda x: x.T.ravel("K"),
    "transpose": lambda x: x.transpose(1, 0) + x.transpose(None) + x.transpose((1, 0)) + x.transpose(-1, np.int64(0)),
    "astype": lambda x: x.astype("f4", copy=False),
    "astype safely": lambda x: x.astype(np.float64, casting="safe"),
    "astype int": lambda x: x.astype(int),
    "nonzero": lambda x: x.nonzero(),
    "flat": lambda x: sum(x.flat) * len(x.flat),
    "flat by index": lambda x: x.flat[[1, 2]],
    "sizes": lambda x: x * (x.nbytes + x.itemsize + x.strides[0]),
}

INDICES = {
    "list": lambda x: x[[0, 1, 0]],
    "mask": lambda x: x[MASK],
    "mask of comparisons": lambda x: x[x > 0],
    "newaxis": lambda x: x[:, np.newaxis],
    "array and slice": lambda x: x[np.array([0, 1]), 1:],
    "slice and list": lambda x: x[:, [0, 2, 2]],
    "ix_": lambda x: x[np.ix_([0, 1], [2, 0])],
    "backwards": lambda x: x[::-1, ::-2],
    "integers of NumPy": lambda x: x[np.int64(1), np.int8(2)],
    "slices of such": lambda x: x[np.int64(0) : np.int64(1)],
    "nothing": lambda x: x[[]],
    "no entries": lambda x: x[np.array([], int)],
    "all": lambda x: x[()],
    "dots": lambda x: x[..., 0],
    "mask and number": lambda x: x[np.array([True, False]), 1],
    "mask of an axis": lambda x: x[:, np.array([True, False, True])],
    "True": lambda x: x[True],
    "False": lambda x: x[False],
    "nested lists": lambda x: x[[[0, 1], [1, 0]]],
    "range": lambda x: x[range(2)],
    "two lists": lambda x: x[[0, 1], [2, 0]],
    "argmax": lambda x: x[np.arange(2), np.argmax(x, 1)],
    "argsort": lambda x: x[np.arange(2)[:, None], np.argsort(x, 1)],
    "nonzero": lambda x: x[np.nonzero(x > 0)],
    "mask of the last axes": lambda x: np.stack([x, x])[:, MASK],
    "arrays apart": lambda x: np.stack([x, x])[[0, 1], :, [0, 2]],
    "small integers": lambda x: x[np.array([0, 1], np.uint8)],
}
CASES = {**OPTIONS, **{f"x.{k}": f for k, f in METHODS.items()}, **{f"x[{k}]": f for k, f in INDICES.items()}}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_those_of_numpy_and_derivatives_those_of_differences(name, seed):
    check(CASES[name], array(seed))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.roll(x, 1),
        lambda x: np.repeat(x, 3),
        lambda x: np.tile(x, 3),
        lambda x: np.stack([x, 1.0]),
        lambda x: np.hstack([x, x]),
        lambda x: np.pad(x, 1),
        np.transpose,
        lambda x: np.take(x, [0, 0]),
        lambda x: np.ravel(x, "F"),
        lambda x: np.full_like(x, 3.0),
        lambda x: np.expand_dims(x, 0),
        np.diagflat,
    ],
)
def test_python_floats(f):
    same(ad.vjp(f, 1.5)[0], f(1.5))


def test_third_derivatives_pass():
    f = lambda x: np.sum(np.roll(np.pad(np.tril(x[:, :2]), 1, "wrap"), 1) ** 4) + np.sum(np.diag(x[0]) ** 4)  # noqa: E731
    x, v = array(0), array(1)
    along = lambda g: lambda y: ad.jvp(g, (y,), (v,))[1]  # noqa: E731
    third = along(along(ad.grad(f)))(x)
    step = 1e-3
    second = along(ad.grad(f))
    differences = (second(x + step * v) - second(x - step * v)) / (2 * step)
    assert np.abs(third - differences).max() <= 1e-6 * np.abs(third).max()


def test_counts_and_indices_may_be_refilled_afterwards():
    counts, index = np.array([1, 0, 2]), np.array([0, 2])
    out, pull = ad.vjp(lambda x: np.repeat(x, counts) ** 2, np.ones(3))
    picked, pull_picked = ad.vjp(lambda x: np.take(x, index) ** 2, np.ones(3))
    counts[:], index[:] = 0, 1
    assert pull(np.ones_like(out))[0].tolist() == [2.0, 0.0, 4.0]
    assert pull_picked(np.ones_like(picked))[0].tolist() == [2.0, 0.0, 2.0]


AXIS, VALUE, TYPE = np.exceptions.AxisError, ValueError, TypeError
BAD = {
    "roll": (lambda x: np.roll(x, 1, 5), AXIS, "roll: axis"),
    "tile": (lambda x: np.tile(x, x), TYPE, "tile: reps is a traced value"),
    "repeat": (lambda x: np.repeat(x, x), TYPE, "repeat: repeats is a traced value"),
    "repeat too often": (lambda x: np.repeat(x, [1, 2, 3, 4], axis=1), VALUE, "broadcast"),
    "repeat below 0": (lambda x: np.repeat(x, -1), VALUE, "negative"),
    "concatenate": (lambda x: np.concatenate([x, x], axis=7), AXIS, "axis 7"),
    "concatenate as int": (lambda x: np.concatenate([x, x], dtype=int), TYPE, "concatenate: dtype is int64"),
    "stack": (lambda x: np.stack([x, x[0]]), VALUE, "same shape"),
    "block": (lambda x: np.block([[x], x]), VALUE, "block: arrays is nested"),
    "split": (lambda x: np.split(x, 2, 1), VALUE, r"split: .* Take np\.array_split"),
    "split along": (lambda x: np.split(x, 1, 4), AXIS, "split: axis"),
    "array_split": (lambda x: np.array_split(x, 0), VALUE, "at least 1 section"),
    "dsplit": (lambda x: np.dsplit(x, 1), VALUE, "dsplit: ary"),
    "diag": (lambda x: np.diag(x[None]), VALUE, "diag: v"),
    "diagonal": (lambda x: np.diagonal(x, 0, 0, 0), VALUE, "repeated axis in `diagonal"),
    "diagonal of a vector": (lambda x: np.diagonal(x[0]), VALUE, "diagonal: a"),
    "tril": (lambda x: np.tril(x[0, 0]), VALUE, "tril: m"),
    "flip": (lambda x: np.flip(x, 3), AXIS, "flip: axis"),
    "fliplr": (lambda x: np.fliplr(x[0]), AXIS, "fliplr"),
    "rot90": (lambda x: np.rot90(x, 1, (0, 0)), VALUE, "rot90: axes"),
    "meshgrid": (lambda x: np.meshgrid(x[0], indexing="zz"), VALUE, "meshgrid: indexing is 'zz'"),
    "broadcast_arrays": (lambda x: np.broadcast_arrays(x, [1.0, 2.0]), VALUE, "broadcast"),
    "expand_dims": (lambda x: np.expand_dims(x, 5), AXIS, "expand_dims: axis"),
    "expand_dims twice": (lambda x: np.expand_dims(x, (0, 0)), VALUE, "expand_dims: axis"),
    "rollaxis": (lambda x: np.rollaxis(x, 3), AXIS, "rollaxis: axis"),
    "moveaxis": (lambda x: np.moveaxis(x, 0, 5), AXIS, "moveaxis: destination"),
    "moveaxis of two": (lambda x: np.moveaxis(x, (0, 1), 0), VALUE, "as many axes as source"),
    "swapaxes": (lambda x: x.swapaxes(0, 5), AXIS, "swapaxes: axis2"),
    "transpose": (lambda x: x.transpose(0, 5), AXIS, "transpose: axes"),
    "transpose to fewer": (lambda x: x.transpose((0,)), VALUE, "axes don't match"),
    "squeeze": (lambda x: np.squeeze(x, 0), VALUE, "squeeze"),
    "resize": (lambda x: np.resize(x, -2), VALUE, "resize: new_shape"),
    "reshape": (lambda x: x.reshape(4, 4), VALUE, "cannot reshape"),
    "reshape by": (lambda x: np.reshape(x, (3, 2), "K"), VALUE, "reshape: order is 'K'"),
    "ravel with gaps": (lambda x: np.ravel(np.stack([x, x])[:, ::2, ::2], "K"), VALUE, "ravel: order is 'K'"),
    "choose": (lambda x: np.choose([0, 2, 1], [x[0], x[1]]), VALUE, "choose: a"),
    "choose by": (lambda x: x.choose([1, 2]), TYPE, "choose: a is a traced value"),
    "select": (lambda x: np.select([MASK], [x, x]), VALUE, "select: choicelist"),
    "select by integers": (lambda x: np.select([[1, 0, 1]], [x]), TYPE, "select: condlist"),
    "compress": (lambda x: np.compress(MASK, x), VALUE, "compress: condition"),
    "take": (lambda x: np.take(x, [9]), IndexError, "out of bounds"),
    "take at": (lambda x: np.take(x, x), TYPE, "take: indices is a traced value"),
    "insert": (lambda x: np.insert(x, 10, 9.0, axis=0), IndexError, "out of bounds"),
    "pad below 0": (lambda x: np.pad(x, -1), VALUE, "pad: pad_width"),
    "pad by fractions": (lambda x: np.pad(x, 1.5), TYPE, "pad: pad_width"),
    "pad by means": (lambda x: np.pad(x, 1, "mean"), TYPE, "pad: mode is 'mean'"),
    "pad oddly": (lambda x: np.pad(x, 1, "reflect", reflect_type="odd"), TYPE, "reflect_type='odd'"),
    "apply_along_axis": (lambda x: np.apply_along_axis(np.sum, 4, x), AXIS, "apply_along_axis: axis"),
    "astype": (lambda x: x.astype("f4", casting="safe"), TYPE, "casting='safe'"),
    "matrix": (lambda x: np.vstack([x, np.matrix([[1.0, 2.0, 3.0]])]), TYPE, r"np\.asarray"),
    "fill_diagonal": (lambda x: np.fill_diagonal(x, 1.0), TYPE, r"fill_diagonal .* np\.where"),
    "put": (lambda x: np.put(x, [0], 1.0), TYPE, r"numpy\.put .* np\.where"),
    "place": (lambda x: np.place(x, MASK, 1.0), TYPE, r"numpy\.place .* np\.where"),
    "copyto": (lambda x: np.copyto(x, 1.0), TYPE, r"numpy\.copyto .* np\.where"),
    "putmask": (lambda x: np.putmask(x, MASK, 1.0), TYPE, r"numpy\.putmask .* np\.where"),
    "trim_zeros": (lambda x: np.trim_zeros(x[0]), TYPE, r"trim_zeros .* x\[i:j\]"),
    "view": (lambda x: x.view("f4"), TYPE, r"x\.view\(\)"),
    "fill": (lambda x: x.fill(3), TYPE, r"x\.fill\(\)"),
    "x.resize": (lambda x: x.resize(3), TYPE, r"x\.resize\(\)"),
    "x.put": (lambda x: x.put(0, 3), TYPE, r"x\.put\(\)"),
    "x.flat": (lambda x: x.flat.__setitem__(0, 3), TYPE, r"x\.flat\[index\] = value .* np\.where"),
    "index": (lambda x: x[x], TYPE, "index is traced"),
    "index of a float": (lambda x: x[1.0], IndexError, "only integers"),
    "index beyond": (lambda x: x[5], IndexError, "out of bounds"),
    "mask of another shape": (lambda x: x[np.array([True, False, True])], IndexError, "boolean index"),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    f, error, message = BAD[name]
    with pytest.raises(error, match=f"(?s){message}"):
        ad.vjp(f, array(0))


GRIDS = {
    "linspace with its step": lambda x: np.linspace(x[0, 0], x[0, 1], 4, retstep=True),
    "linspace of one": lambda x: np.linspace(x[0, 0], 2.0, 1),
    "linspace of none": lambda x: np.linspace(x[0, 0], 2.0, 0),
    "linspace of rows": lambda x: np.linspace(x, 1.0, 3, axis=-1),
    "linspace, open": lambda x: np.linspace(0, x[0], num=np.int64(3), endpoint=False),
    "logspace": lambda x: np.logspace(x[0, 0], 1, 3, base=2.0),
    "logspace with a traced base": lambda x: np.logspace(0.0, 1.0, 3, base=x[0, 0] ** 2),
    "geomspace below 0": lambda x: np.geomspace(-(x[0, 0] ** 2), -3.0, 4),
    "geomspace of rows": lambda x: np.geomspace(x**2, 3.0, 2, axis=1),
    "piecewise": lambda x: np.piecewise(x, [MASK, MASK[::-1]], [np.sin, np.exp, 2.0]),
    "piecewise, one condition": lambda x: np.piecewise(x[0], MASK[0], [lambda v, k: v * k, lambda v, k: -v], 3.0),
    "piecewise, a traced number": lambda x: np.piecewise(x, [MASK], [x[0, 0]]),
    "piecewise, nowhere": lambda x: np.piecewise(x, [MASK & ~MASK], [np.sin]),
    "poly": lambda x: np.polyval(np.poly(x[0]), x[1]),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_grids_and_pieces(name, seed):
    x = array(seed)
    for found, expected in zip(ad.leaves(ad.vjp(GRIDS[name], x)[0]), ad.leaves(GRIDS[name](x)), strict=True):
        assert np.shape(found) == np.shape(expected)
        assert np.abs(found - expected).max(initial=0) <= 1e-14 * np.abs(expected).max(initial=1)
    assert ad.check_gradients(GRIDS[name], (x,)).finite_difference < 1e-8


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: np.linspace(x[0], 1.0, -1), VALUE, "linspace: num"),
        (lambda x: np.linspace(x[0], 1.0, 3, dtype=int), TYPE, "linspace: dtype"),
        (lambda x: np.logspace(x[0], 1.0, 3, base=x[0]), TYPE, "logspace: base"),
        (lambda x: np.geomspace(x[0, 0] ** 2, -1.0, 3), VALUE, "geomspace: start, stop"),
        (lambda x: np.piecewise(x, [MASK], [1.0, 2.0, 3.0]), VALUE, "piecewise: funclist"),
        (lambda x: np.piecewise(x, [MASK[0]], [1.0]), VALUE, "piecewise: condlist"),
        (lambda x: np.poly(x[:, :2]), TYPE, "poly: seq_of_zeros"),
    ],
)
def test_bad_grids_are_named(f, error, message):
    with pytest.raises(error, match=message):
        ad.vjp(f, array(0))
