"""The same parts have the same fingerprint in every process; another number or another line of code has another."""

import copy
import functools
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metagrad as mg
from metagrad.fingerprint import differing_parts, fingerprint, named_parts, refuse_other_run
from metagrad.xp import move
from tests.cupy_double import double

ROOT = Path(__file__).resolve().parent.parent
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


def kinds_too(x):
    """Return x such that equality tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if isinstance(x, list | tuple):
        return type(x), [kinds_too(item) for item in x]
    return {key: kinds_too(item) for key, item in x.items()} if isinstance(x, dict) else (type(x), repr(x))


@given(NESTED, NESTED)
def test_equal_and_unequal_data(first, second):
    assert fingerprint(first) == fingerprint(copy.deepcopy(first))
    assert (fingerprint(first) == fingerprint(second)) == (kinds_too(first) == kinds_too(second))


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a  # b stays empty


class Plain:
    def __init__(self, **data):
        vars(self).update(data)

    @functools.cached_property
    def doubled(self):
        return 2 * self.a


def enclosing(number):
    def loss(w):
        return number * w

    return loss


def with_default(number):
    def loss(w, scale=number):
        return scale * w

    return loss


def rule(**members):
    """Return an object of a class `Rule` with these members, as another version of a script would have it."""
    return type("Rule", (), members)()


def inherited(**members):
    return type("Rule", (type("Base", (), members),), {})()


def once(w):
    return w


def twice(w):
    return 2 * w


def thrice(w):
    return 3 * w


DIFFERENT = {
    "arrays": (np.zeros(2), np.zeros(3)),
    "dtypes of arrays": (np.zeros(2, np.float32), np.zeros(2, np.int32)),
    "arrays of objects": (np.array([1, "a"], object), np.array([1, "b"], object)),
    "scaled numbers": (mg.Scaled(np.array(0.5), np.array(3)), mg.Scaled(np.array(0.5), np.array(4))),
    "dtypes": (np.dtype("f4"), np.dtype("f8")),
    "scalar types": (np.float32, np.float64),
    "functions": (twice, thrice),
    "enclosed numbers": (enclosing(1), enclosing(2)),
    "defaults": (with_default(1), with_default(2)),
    "bound functions": (functools.partial(pow, 2), functools.partial(pow, 3)),
    "functions in C": (math.exp, math.sin),
    "ufuncs": (np.exp, np.sin),
    "attributes": (Plain(a=1), Plain(a=2)),
    "slots": (Slotted(1), Slotted(2)),
    "random generators": (np.random.default_rng(1), np.random.default_rng(2)),
    "methods": (rule(step=twice), rule(step=thrice)),
    "calls": (rule(__call__=twice), rule(__call__=thrice)),
    "static methods": (rule(step=staticmethod(twice)), rule(step=staticmethod(thrice))),
    "class methods": (rule(step=classmethod(twice)), rule(step=classmethod(thrice))),
    "properties": (rule(step=property(twice)), rule(step=property(thrice))),
    "cached methods": (rule(step=functools.cache(twice)), rule(step=functools.cache(thrice))),
    "attributes of classes": (rule(beta=0.9), rule(beta=0.8)),
    "inherited methods": (inherited(step=twice), inherited(step=thrice)),
    "bound methods": (rule(step=twice).step, rule(step=thrice).step),
    "which function comes again": ([once, twice, once], [once, twice, twice]),
    "subclasses of containers": (type("Bag", (dict,), {})(a=1), type("Bag", (dict,), {})(a=2)),
    "modules": (math, np),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_has_another_fingerprint(name):
    first, second = DIFFERENT[name]
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(first) == fingerprint(first)


def test_what_was_cached_on_the_way_does_not_count():
    x = Plain(a=2)
    before = fingerprint(x)
    assert x.doubled == 4
    assert fingerprint(x) == before


def test_cycles_end_and_locks_are_passed_over():
    loop = [1]
    loop.append(loop)
    assert fingerprint(loop) != fingerprint([1])
    assert fingerprint(Plain(a=1, lock=threading.Lock())) == fingerprint(Plain(a=1, lock=threading.Lock()))


def test_parts_have_names_and_short_ones_a_text():
    device = move(np.array(2.0), double.NAMESPACE)
    parts = {"scale": 0.1, "stages": ((2, 0.5),), "long": (1.0,) * 50, "task": Plain(a=1), "w": np.ones(2), "x": device}
    found = named_parts(parts)
    texts = {name: part["text"] for name, part in found.items() if "text" in part}
    python = "{}.{}".format(*sys.version_info)
    assert texts == {"scale": "0.1", "stages": "((2, 0.5),)", "x": "array(2.)", "python": f"'{python}'"}
    assert json.loads(json.dumps(found)) == found
    assert differing_parts(found, named_parts(parts)) == {}


def test_parts_that_differ_are_found_by_name():
    mine = named_parts({"scale": np.float32(0.1), "task": Slotted(1), "new": 1})
    saved = named_parts({"scale": 0.1, "task": Slotted(2), "old": None})
    expected = {"scale": ("0.1", repr(np.float32(0.1))), "task": ("", ""), "new": (None, "1"), "old": ("None", None)}
    assert differing_parts(saved, mine) == expected
    with pytest.raises(
        ValueError, match=r"\(task, of other numbers or code; new, which is here alone; old, which is there alone\)"
    ):
        refuse_other_run("here", "a.npz", expected, ("scale",), ("scale",))
    assert set(differing_parts("no parts", mine)) == {"scale", "task", "new", "python"}


@dataclass(frozen=True)
class Settings:
    size: int
    inner: object = None
    data: object = None


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        (Settings(1), Settings(2), ("size = 1", "size = 2")),
        (Settings(1, Settings(2)), Settings(1, Settings(3)), ("inner.size = 2", "inner.size = 3")),
        (Settings(1, Settings(2)), Settings(1, Plain(a=1)), ("inner = Settings", "inner = Plain")),
        (Settings(1, {"a": (1, [2])}), Settings(1, {"a": (1, [3])}), ("inner['a'][1][0] = 2", "inner['a'][1][0] = 3")),
        (Settings(1, [1]), Settings(2, [1, 2]), ("size = 1, inner = list", "size = 2, inner = another list")),
        (Settings(1), Plain(a=1), ("Settings", "Plain")),
        (Plain(a=1, b=Plain(a=1)), Plain(a=1, b=Plain(a=2)), ("b.a = 1", "b.a = 2")),
        (len, np.ones, ("builtin_function_or_method", "ones")),
        (np.zeros(9), np.ones(2), ("float64(9,) [0.0, 0.0, 0.0, ...]", "float64(2,) [1.0, 1.0]")),
        (Settings(1, data=np.zeros(4)), Settings(1, data=np.r_[np.zeros(3), 1]), None),
        ([1, 2, 3, 4], [2, 3, 4, 5], ("[0] = 1, [1] = 2, [2] = 3 and 1 more", "[0] = 2, [1] = 3, [2] = 4 and 1 more")),
    ],
)
def test_what_tells_two_parts_apart_is_named(there, here, said):
    same = "data = float64(4,) [0.0, 0.0, 0.0, ...]", "data = another float64(4,) [0.0, 0.0, 0.0, ...]"
    assert differing_parts(named_parts({"x": there}), named_parts({"x": here})) == {"x": said or same}


@pytest.mark.parametrize("edit", [{"pieces": 3}, {"pieces": {".size": 3}}, {"kind": None}, {"text": 3}])
def test_names_of_parts_that_were_edited_are_no_trouble(edit):
    saved = named_parts({"x": Settings(1)})
    saved["x"].update(edit)
    assert set(differing_parts(saved, named_parts({"x": Settings(2)}))) == {"x"}


def with_a_module():
    import scipy.stats

    def loss(w):
        return np.sum(w**2, axis=-1) + scipy.stats.norm.pdf(w[..., 0])

    return loss


def of_everything():
    """Return one hash of all kinds of parts, for another process to find again."""
    generator = np.random.default_rng(0)
    tasks = (mg.random_quadratics(count=2, d=3, seed=0), mg.random_least_squares(2, 8, 3, sigma=1.0, seed=0))
    rules = (mg.GradientDescent(), mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), mg.LogExcess(), mg.Reverse())
    names = [name for name in DIFFERENT if name != "arrays of objects"]
    parts = [DIFFERENT[name] for name in names]
    return fingerprint(tasks, rules, with_a_module(), frozenset(names), {1: 2, "a": 3}, generator, parts)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_finds_the_same(seed):
    code = "from tests.test_fingerprint import of_everything; print(of_everything())"
    environment = os.environ | {"PYTHONHASHSEED": seed}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == of_everything()
