"""Namespaces, dtypes, devices and random streams."""

import ml_dtypes
import numpy as np
import pytest

from metagrad.xp import FloatInfo, float_info, move, namespace, namespace_for, rng


def test_a_stream_is_a_function_of_its_name():
    assert np.array_equal(rng(7, "a", 1).random(5), rng(7, "a", 1).random(5))
    draws = [
        rng(*key).random() for key in [(7, "a", 1), (7, "a", 2), (7, "b", 1), (8, "a", 1), (7, "a", "1"), (7, "a")]
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_info_is_numpys(dtype):
    info, reference = float_info(dtype), np.finfo(dtype)
    assert info.eps == float(reference.eps)
    assert 2.0**info.min_exponent == float(reference.tiny)
    assert 2.0**info.subnormal_exponent == float(reference.smallest_subnormal)
    assert float(reference.max) == (2 - info.eps) * 2.0 ** (info.max_exponent - 1)


def test_float_info_of_bfloat16_is_that_of_ml_dtypes():
    info, reference = float_info("bfloat16"), ml_dtypes.finfo(ml_dtypes.bfloat16)
    assert info == FloatInfo("bfloat16", float(reference.eps), reference.maxexp, reference.minexp, reference.minexp - 7)


def test_unknown_dtype():
    with pytest.raises(ValueError, match="'float32'"):
        float_info("float23")


def test_namespace_refuses_what_is_no_array():
    assert namespace(np.ones(2), 3.0) is np
    with pytest.raises(TypeError, match="argument 1 is a list"):
        namespace(np.ones(2), [1.0])


def test_unknown_device_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'gpu'"):
        namespace_for("gpus")


def test_move_keeps_what_is_in_place():
    tree = (np.ones(2), (3, None))
    moved = move(tree, np)
    assert moved[0] is tree[0]
    assert moved[1] == (3, None)
