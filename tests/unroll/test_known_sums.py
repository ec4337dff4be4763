"""Growth of sums that are known beforehand, sums of contributions in range, and sizes: the bits of the longer ways."""

import numpy as np
import pytest

from metagrad import ad
from metagrad.replay import Stack, Sums, sums_of
from metagrad.scaled import Scaled
from metagrad.unroll import accumulate
from metagrad.unroll.accumulate import Accumulator
from metagrad.unroll.growth import Growth, _log2
from metagrad.unroll.stretch import Sizes
from metagrad.xp import rng

SEEDS = (0, 1, 2)
B = 3


def numbers(found):
    return [np.asarray(x).tobytes() for x in found]


def run(draw, count, dtype):
    """Return steps from the last: lambda after all, the states w, and J'lambda before each, without and with a term."""

    def tree(scale=1.0):
        leaves = (draw.standard_normal((B, 4)) * scale, draw.standard_normal((B, 2, 3)) * scale)
        return {"a": leaves[0].astype(dtype), "b": leaves[1].astype(dtype)}

    states = [tree() for _ in range(count + 1)]
    states[count // 2]["a"][1] = 0.0
    states[count // 2]["b"][1] = 0.0
    pulled = [tree(10.0 ** draw.uniform(-2, 2)) for _ in range(count)]
    after = [tree(10.0 ** draw.uniform(-2, 2)) for _ in range(count)]
    return tree(), states, pulled, after


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("with_terms", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
@np.errstate(all="ignore")
def test_growth_of_known_sums(seed, with_terms, dtype):
    """Step by step, in stretches, and in both kinds in turn, beyond the borders of chunks."""
    count = 600
    draw = rng(seed, "growth")
    first, states, pulled, after = run(draw, count, dtype)
    power, none = draw.integers(-3, 4, B) * (seed != SEEDS[0]), np.zeros(B, np.int64)

    def alone(growth, k, adjoint):
        growth.step((adjoint, states[k]), (pulled[k], states[k + 1]), (power, none, none))
        if with_terms:
            growth.term_added()
        return after[k] if with_terms else pulled[k]

    def together(growth, k, end, adjoint):
        given = [adjoint, *(after if with_terms else pulled)[k : end - 1]]
        rows = range(k, end)
        sums = Sums(
            np.array([sums_of(pulled[j], states[j + 1]) for j in rows]),
            np.array([sums_of(a, states[j + 1]) for a, j in zip(given, rows, strict=True)]),
            np.array([sums_of(after[j], states[j + 1]) for j in rows]) if with_terms else None,
        )
        growth.steps(sums, (adjoint, states[k]), power)
        return (after if with_terms else pulled)[end - 1]

    found = []
    for cuts in ([], [64] * 10, [1, 255, 1, 300, 43], [7, 300, 200, 93], [600]):
        growth, adjoint, k = Growth(np, B, states[0]), first, 0
        for i, length in enumerate(cuts):
            end = min(k + length, count)
            if i % 3 == 2:
                for j in range(k, end):
                    adjoint = alone(growth, j, adjoint)
            elif end > k:
                adjoint = together(growth, k, end, adjoint)
            k = end
        for j in range(k, count):
            adjoint = alone(growth, j, adjoint)
        found.append(growth.result(2))
    for one in found[1:]:
        assert numbers(one) == numbers(found[0])
    assert (found[0].chaos > 0).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("power", [0, 5, np.array([1, -2, 40])], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_sums_in_range_are_those_that_are_aligned(seed, power, dtype, monkeypatch):
    draw = rng(seed, "sums")
    shape = (B,) if np.ndim(power) else ()
    rows = [{"eta": draw.standard_normal((*shape, 2)).astype(dtype), "mu": draw.standard_normal(shape).astype(dtype)}
            for _ in range(300)]  # fmt: skip
    rows[5]["eta"][...] = 0.0
    rows[7]["mu"] = np.array(1e-9, dtype) * rows[7]["mu"]

    def total(cuts):
        sums = Accumulator(np, entries=None, plain=False)
        k = 0
        for length in cuts:
            sums.add_many(Stack(rows[k : k + length]), power)
            k += length
        for row in rows[k:]:
            sums.add(row, power)
        return parts(sums.result()) + parts(sums.spread())

    expected_by_one = total([])
    by_range = [total(cuts) for cuts in ([64] * 5, [1, 127, 1, 128, 43], [300])]
    monkeypatch.setattr(accumulate, "_sums_in_range", lambda x, power: None)
    aligned = [total(cuts) for cuts in ([], [64] * 5, [300])]
    for found in (*by_range, *aligned):
        assert found == expected_by_one


def parts(tree):
    return [np.asarray(x).tobytes() for leaf in ad.leaves(tree) for x in (leaf.mantissa, leaf.exponent)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bad", [np.inf, np.nan, "tiny", "huge"])
def test_numbers_that_have_to_be_aligned(bad, dtype):
    """Where a digit would move, or what is no number is among them, nothing is summed as it is."""
    x = rng(0, "range").standard_normal((20, B)).astype(dtype)
    assert accumulate._sums_in_range(x, np.asarray(3)) is not None
    info = np.finfo(dtype)
    x[4, 1] = {"tiny": info.tiny, "huge": info.max / 2}.get(bad, bad)
    assert accumulate._sums_in_range(x, np.asarray(3)) is None


def test_contributions_of_several_exponents():
    """Pieces whose exponents differ are aligned, together."""
    draw = rng(0, "several")
    rows = [draw.standard_normal(2) for _ in range(90)]
    whole, alone = (Accumulator(np, entries=None, plain=False) for _ in range(2))
    for k, power in ((0, 0), (30, -70), (60, 3)):
        whole.add_many(Stack(rows[k : k + 30]), power)
        for row in rows[k : k + 30]:
            alone.add(row, power)
    assert parts(whole.result()) == parts(alone.result())
    total = sum(
        Scaled.of(row, power).to_float() for row, power in zip(rows, [0] * 30 + [-70] * 30 + [3] * 30, strict=True)
    )
    assert np.allclose(whole.result().to_float(), total)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(6))
def test_bounds_of_sizes_decide_as_the_sizes_do(seed, dtype):
    """At the borders themselves, too, with NaN and infinities among the entries."""
    draw = rng(seed, "bounds")
    low, high = 2.0**-10, 2.0**10
    choices = np.array(
        [low, high, np.nextafter(low, 0), np.nextafter(high, 0), 1.0, 0.0, np.nan, np.inf, 3.0, -high, -low]
    )
    for case in range(30):
        p = [0.2, 0.02, 0.02, 0.02, 0.5, 0.1, 0.01, 0.01, 0.1, 0.01, 0.01] if case % 2 else None
        leaves = [draw.choice(choices, (7, B, *s), p=p).astype(dtype) for s in ((2,), (), (3, 2))] + [[1] * 7]
        sizes = Sizes(leaves)
        rows = np.max([np.abs(x.reshape(7, B, -1)).max(axis=-1) for x in leaves[:3]], axis=0)
        assert np.array_equal(sizes.rows(), rows, equal_nan=True)
        assert np.array_equal(sizes.most, rows.max(axis=0), equal_nan=True)
        assert sizes.are_within(low, high) == bool((rows >= low).all() and (rows < high).all())
        outside = ~((rows > low) & (rows < high)).all(axis=1)
        assert sizes.first_outside(low, high) == (int(outside.argmax()) if outside.any() else 7)
        smallest = (
            min(np.abs(x).min() for x in leaves[:3]) if not any(np.isnan(x).any() for x in leaves[:3]) else np.nan
        )
        assert sizes.smallest == smallest or np.isnan([sizes.smallest, smallest]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logarithms_of_shared_exponents_have_the_same_bits(dtype):
    """However digits and exponent share a number; zero, inf and NaN as they are."""
    x = np.array([[1.5, 0.7, 3e-5, 2.0**-20, 0.0, np.inf, np.nan]], dtype)
    power = np.full(7, 3)
    with np.errstate(divide="ignore"):
        expected, known = _log2(x, power), np.log2(x, dtype=np.float64) + 3
        for by in (-90, -7, 40):
            assert np.array_equal(_log2(np.ldexp(x, by), power - by), expected, equal_nan=True)
    np.testing.assert_allclose(expected, known, rtol=1e-15)
