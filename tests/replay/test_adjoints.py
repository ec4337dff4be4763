"""The adjoint with a term's gradient, and the sums by which growth is judged: against NumPy, entry by entry."""

import numpy as np
import pytest

from metagrad.replay.adjoints import products, sums_of, with_term
from metagrad.xp import rng


def trees(draw, dtype):
    """Return four trees of one structure."""

    def tree():
        return {"a": draw.standard_normal((3, 4)).astype(dtype), "b": (draw.standard_normal((3, 2, 5)).astype(dtype),)}

    return [tree() for _ in range(4)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_term_is_added_to_the_adjoint_of_w_alone(seed, dtype):
    draw = rng(seed, "adjoints")
    adjoint, slope, state, _ = trees(draw, dtype)
    factor = draw.standard_normal(3).astype(dtype)
    of_w, of_state = with_term((adjoint, state), slope, factor)
    assert of_state is state
    assert np.array_equal(of_w["a"], adjoint["a"] + slope["a"] * factor[:, None])
    assert np.array_equal(of_w["b"][0], adjoint["b"][0] + slope["b"][0] * factor[:, None, None])
    bare, _ = with_term((adjoint["a"], ()), slope["a"], factor)
    assert np.array_equal(bare, of_w["a"])


def test_counts_have_no_adjoint():
    adjoint = {"w": np.ones((2, 3)), "n": None}
    found, _ = with_term((adjoint, ()), {"w": np.full((2, 3), 2.0), "n": None}, np.array([1.0, 10.0]))
    assert found["n"] is None
    assert found["w"].tolist() == [[3.0] * 3, [21.0] * 3]
    assert sums_of(adjoint, {"w": np.full((2, 3), -2.0), "n": 7}).tolist() == [6.0, 6.0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", [0, 1])
def test_sums_are_those_of_magnitudes(seed, dtype):
    draw = rng(seed, "sums")
    adjoint, w, *_ = trees(draw, dtype)
    expected = [
        sum(abs(float(a) * float(x)) for a, x in zip(adjoint["a"][i], w["a"][i], strict=True))
        + sum(abs(float(a) * float(x)) for a, x in zip(adjoint["b"][0][i].ravel(), w["b"][0][i].ravel(), strict=True))
        for i in range(3)
    ]
    np.testing.assert_allclose(sums_of(adjoint, w), expected, rtol=20 * np.finfo(dtype).eps)
    many = products(np.array([adjoint["a"]] * 5), np.array([w["a"]] * 5), 2)
    assert many.shape == (5, 3)
    assert np.array_equal(many[4], products(adjoint["a"], w["a"]))
    assert products(np.array([-2.0]), np.array([3.0])).tolist() == [6.0]  # one number a task
