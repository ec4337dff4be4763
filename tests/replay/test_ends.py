"""Later runs are compared with the tape at both ends, and large arrays are told by every entry."""

import sys

import numpy as np
import pytest

import metagrad as mg
import metagrad.replay.content
from metagrad.replay import replayed
from metagrad.replay.content import _machine_code, content
from metagrad.unroll.purity import same
from metagrad.xp import rng

STEPS = 40
RULES = [(mg.GradientDescent(), mg.GradientDescent.Phi(0.05)), (mg.Adam(), mg.Adam.Phi(0.05))]


def task_of(x):
    return mg.FunctionTask(lambda w: np.sum(np.cosh(x * w), axis=-1), w0=np.full((2, 3), 0.3))


def estimate(task, rule, phi, *, on=True, steps=STEPS):
    with replayed(on):
        return mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=steps)


def numbers(found):
    parts = [found.value, *mg.ad.leaves(found.grad)]
    return [(x.mantissa, x.exponent) for x in parts], found.status, found.digits.value, found.digits.gradient


@pytest.mark.parametrize(("rule", "phi"), RULES)
def test_all_runs_have_the_bits_of_the_tape(rule, phi):
    task = task_of(np.array([0.5, 1.0, 2.0]))
    expected = numbers(estimate(task, rule, phi, on=False))
    for _ in range(9):
        assert same(numbers(estimate(task, rule, phi)), expected)


@pytest.mark.parametrize("runs", [5, 6, 7, 8])
@pytest.mark.parametrize(("rule", "phi"), RULES)
def test_data_that_nothing_reaches_are_missed_at_neither_end(runs, rule, phi):
    hidden = np.array([0.5, 1.0, 2.0])
    held = memoryview(hidden)  # what a buffer holds is not looked at
    task = mg.FunctionTask(lambda w: np.sum(np.cosh(np.asarray(held) * w), axis=-1), w0=np.full((2, 3), 0.3))
    for _ in range(runs):
        before = estimate(task, rule, phi)
    assert "were replayed" in (before.replay or "")
    hidden[1] = 1.25
    assert same(numbers(estimate(task, rule, phi)), numbers(estimate(task, rule, phi, on=False)))


@pytest.mark.parametrize("runs", [5, 6, 7, 8])
def test_a_rule_that_changes_unseen_is_missed_at_neither_end(runs):
    eta = np.array([0.05])
    held = memoryview(eta)

    class Rule:
        Phi = mg.GradientDescent.Phi

        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            return w - phi.eta * np.asarray(held) * f.gradient(w), state

    task, phi = task_of(np.array([0.5, 1.0, 2.0])), Rule.Phi(0.5)
    rule = Rule()
    for _ in range(runs):
        before = estimate(task, rule, phi)
    assert "were replayed" in (before.replay or "")
    eta[0] = 0.06
    assert same(numbers(estimate(task, rule, phi)), numbers(estimate(task, rule, phi, on=False)))


@pytest.mark.parametrize("size", [1 << 14, (1 << 15) + 3, (1 << 19) - 1])
def test_large_arrays_are_told_by_every_entry(size):
    x = np.random.default_rng(0).standard_normal(size)
    told = content(x)
    assert content(x.copy()) == told
    for k in (0, 1, size // 2, size - 2, size - 1):
        y = x.copy()
        y[k] = np.nextafter(y[k], np.inf)
        assert content(y) != told
    swapped = x.copy()
    swapped[[0, 1]] = x[[1, 0]]
    assert content(swapped) != told
    for signs in ([0, 1], [2, size - 1], slice(None), slice(0, size, 2)):  # an even number of first bits
        y = x.copy()
        y[signs] = -y[signs]
        assert content(y) != told


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", "i1", "i2", "i4", "i8"])
@pytest.mark.parametrize("shape", [(1 << 18,), (600, 501), (1 << 17, 3)])
def test_signs_of_numbers_of_any_width(shape, dtype):
    """All signs, those of a row, of a column, of every other entry, of two: none is lost beside another."""
    x = (rng(2, "signs").standard_normal(shape) * 100).astype(dtype)
    x[x == 0] = 1
    told, flat = content(x), (slice(None), 0, slice(None, None, 2), slice(0, 2), slice(0, 4), (Ellipsis, 0))
    for place in flat:
        y = x.copy()
        y[place] = -y[place]
        assert content(y) != told
        assert content(np.asfortranarray(y)) != content(np.asfortranarray(x))


@pytest.mark.parametrize("nbytes", [(1 << 17) + 5, 1 << 20, (1 << 26) + (1 << 20) + 3])
def test_machine_code_sums_up_what_numpy_does(nbytes, monkeypatch):
    """Whether code can be compiled may change within a process: what was seen before is the same after."""
    pytest.importorskip("numba")
    x = rng(0, "bytes").integers(0, 256, nbytes, dtype=np.uint8)
    assert _machine_code() is not None
    assert "llvmlite" in sys.modules
    compiled = content(x)
    monkeypatch.delitem(sys.modules, "llvmlite")
    assert content(x) == compiled


def test_a_compiler_that_fails_is_not_missed(monkeypatch):
    pytest.importorskip("numba")
    x = rng(1, "bytes").standard_normal(1 << 16)
    told = content(x)

    def fails():
        raise RuntimeError("no code today")

    monkeypatch.setattr(metagrad.replay.content, "_compiled", fails)
    _machine_code.cache_clear()
    assert _machine_code() is None
    assert content(x) == told
    _machine_code.cache_clear()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rows", [20, 12_000])
def test_signs_of_data_that_change_between_runs(rows, dtype):
    """A small and a large array of which all signs change in place: the next value is that of the new data."""
    x = rng(rows, "signs").standard_normal((1, rows, 4)).astype(dtype)
    y = (x[..., 0] > 0.2).astype(dtype)

    def loss(w):
        z = np.einsum("bni,bi->bn", 2.0 * x, w)  # a constant of the program
        return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0.0) - y * z, axis=-1)

    task, rule = mg.FunctionTask(loss, w0=np.full((1, 4), 0.1, dtype)), mg.GradientDescent()
    for _ in range(5):
        estimate(task, rule, rule.Phi(0.1))
    x *= -1.0
    found = estimate(task, rule, rule.Phi(0.1))
    assert same(numbers(found), numbers(estimate(task, rule, rule.Phi(0.1), on=False)))
