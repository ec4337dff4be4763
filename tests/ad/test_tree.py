"""Trees of tuples, lists and dicts: one order of leaves, what is built keeps its shape, and where two trees differ."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import ad
from metagrad.ad.tree import leaves_as
from metagrad.xp import move


class Layer(NamedTuple):
    W: object
    b: object


numbers = st.none() | st.floats(-10, 10) | st.floats(-10, 10).map(np.float64)
keys = st.text(max_size=3)
trees = st.recursive(
    numbers,
    lambda below: (
        st.lists(below, max_size=3)
        | st.lists(below, max_size=3).map(tuple)
        | st.tuples(below, below).map(lambda pair: Layer(*pair))
        | st.dictionaries(keys, below, max_size=3)
    ),
    max_leaves=8,
)


def reordered(tree):
    """Return the same tree with the keys of every dict in the reverse order."""
    if isinstance(tree, dict):
        return {key: reordered(item) for key, item in reversed(tree.items())}
    if isinstance(tree, tuple | list):
        items = [reordered(item) for item in tree]
        return Layer(*items) if isinstance(tree, Layer) else type(tree)(items)
    return tree


@given(trees)
def test_what_is_taken_apart_goes_together_again(tree):
    again = ad.unflatten(tree, ad.leaves(tree))
    assert repr(again) == repr(tree)  # with the types and the order of keys
    assert len(ad.paths(tree)) == len(ad.leaves(tree))
    assert [eval(f"tree{path}", {"tree": tree}) for path in ad.paths(tree)] == ad.leaves(tree)


@given(trees)
def test_the_order_in_which_a_dict_was_filled_is_nothing(tree):
    other = reordered(tree)
    assert ad.leaves(other) == ad.leaves(tree)
    assert leaves_as(tree, other, "f", "x") == ad.leaves(tree)
    same = ad.tree_map(lambda a, b: float(a == b), tree, other)
    assert repr(ad.tree_map(lambda x: 1.0, tree)) == repr(same)
    assert ad.leaves(ad.add(tree, other)) == [2 * x for x in ad.leaves(tree)]


@pytest.mark.parametrize(
    ("tree", "other", "message"),
    [
        ({"a": {"W": 1.0}}, {"a": {"V": 1.0}}, r"at \['a'\] is a dict with the keys 'V'; expected .* keys 'W'"),
        ((1.0, [2.0, 3.0]), (1.0, [2.0]), r"at \[1\] is a list of 1; expected a list of 2"),
        ((1.0, [2.0]), (1.0, (2.0,)), r"at \[1\] is a tuple of 1; expected a list of 1"),
        (Layer(1.0, {"b": (2.0,)}), Layer(1.0, {"b": 2.0}), r"at \.b\['b'\] is a float; expected a tuple of 1"),
        ({"a": [0.0, 1.0]}, {"a": [0.0, {}]}, r"at \['a'\]\[1\] is a dict in the place of a leaf"),
        (1.0, (1.0,), r" is a tuple in the place of a leaf"),
    ],
)
def test_where_trees_differ_is_said_with_the_path(tree, other, message):
    with pytest.raises(TypeError, match=f"tree_map: a tree {message.lstrip()}"):
        ad.tree_map(lambda a, b: a, tree, other)
    with pytest.raises(TypeError, match=f"add: a tree {message.lstrip()}"):
        ad.add(tree, other)
    _, pullback = ad.vjp(lambda t: t, tree)
    with pytest.raises(TypeError, match=f"pullback: cotangent {message.lstrip()}"):
        pullback(other)


def test_the_third_tree_is_looked_at_too():
    with pytest.raises(TypeError, match=r"at \['W'\] is a list in the place of a leaf"):
        ad.tree_map(lambda a, b, c: a, {"W": 1.0}, {"W": 2.0}, {"W": [3.0]})


def test_an_error_of_the_function_stays_what_it_is():
    def inner(a):
        return ad.tree_map(lambda x, y: x, (a,), [a])

    with pytest.raises(TypeError, match=r"tree_map: a tree is a list of 1; expected a tuple of 1"):
        ad.tree_map(inner, {"W": 1.0})
    with pytest.raises(ZeroDivisionError):
        ad.tree_map(lambda x: 1 / 0, [1.0])


def test_keys_are_strings():
    with pytest.raises(TypeError, match=r"tree: a key of a dict is 1, a int; expected a string"):
        ad.vjp(lambda w: w[1], {1: 1.0})


def mlp(w, X):
    for layer in w["layers"]:
        X = np.tanh(X @ layer["W"] + layer["b"])
    return np.sum(X * w["scale"])


def weights(seed):
    stream = np.random.default_rng(seed)
    layer = lambda: {"W": stream.standard_normal((3, 3)), "b": stream.standard_normal(3)}  # noqa: E731
    return {"scale": 2.0, "layers": [layer(), layer()], "none": None}


def test_derivatives_are_those_of_the_same_function_of_tuples():
    w, X = weights(0), np.random.default_rng(1).standard_normal((4, 3))
    f = lambda v: mlp(v, X)  # noqa: E731
    flat = lambda *values: f(ad.unflatten(w, values))  # noqa: E731
    g = ad.grad(f)(w)
    assert list(g) == ["scale", "layers", "none"]
    assert g["none"] is None
    expected = ad.grad(flat, argnums=tuple(range(5)))(*ad.leaves(w))
    assert all(np.array_equal(a, b) for a, b in zip(ad.leaves(g), expected, strict=True))
    v = weights(2)
    assert ad.paths(ad.hvp(f, w, v)) == ad.paths(w)
    assert ad.check_gradients(ad.grad(f), (w,), order=1).finite_difference < 1e-8


def test_lists_and_dicts_go_out_and_come_back():
    out, pullback = ad.vjp(lambda x, y: {"sum": x[0] + y, "parts": [x[1] * y, None]}, [1.0, 2.0], 3.0)
    assert out == {"sum": 4.0, "parts": [6.0, None]}
    assert pullback({"parts": [1.0, None], "sum": 10.0}) == ([10.0, 3.0], 12.0)
    assert pullback({"parts": None, "sum": 10.0}) == ([10.0, 0.0], 10.0)
    assert ad.jvp(lambda t: [t["a"] ** 2], ({"a": 3.0},), ({"a": 10.0},)) == ([9.0], [60.0])
    assert ad.grad(lambda t: t["a"] * ad.stop_gradient(t)["a"])({"a": 3.0}) == {"a": 3.0}


def test_move_rebuilds_lists_and_dicts():
    tree = {"b": [np.ones(2), 3], "a": (None,)}
    moved = move(tree, np)
    assert moved["b"][0] is tree["b"][0]
    assert (list(moved), moved["b"][1], moved["a"]) == (["b", "a"], 3, (None,))
