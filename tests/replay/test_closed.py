"""Which code can be read through, and that nothing of it changes unseen."""

import array
import builtins
import collections
import dataclasses
import functools
import io
import itertools
import operator
import random
import threading
import time
import types
from time import time as now
from typing import NamedTuple

import numpy as np
import pytest
from numpy import frombuffer, load
from numpy.random import default_rng

import metagrad as mg
from metagrad import ad
from metagrad.replay import closed
from metagrad.replay.closed import is_closed
from tests.replay import runs

COUNT, STREAM, BUFFER = 0, default_rng(0), array.array("d", [1.0, 2.0, 3.0])
TABLE = {"a": np.ones(3), "b": (1.0, "c")}


def holding(x):
    return lambda w: w * x


def counted(w):
    global COUNT  # noqa: PLW0603
    COUNT += 1
    return w * COUNT


def remembered():
    calls = 0

    def f(w):
        nonlocal calls
        calls += 1
        return w * calls

    return f


def imported(w):
    import time

    return w * time.time()


def made_one_by_one(w):
    yield w
    yield w * 2.0


@functools.lru_cache
def cached(n):
    return n * 2.0


@functools.wraps(np.linalg.norm)
def another_name(w):
    return w * time.time()


def on_the_clock(w):
    return np.sum(w) * now()


class Clock:
    def __init__(self):
        self.at = time.time()


class New:
    def __new__(cls):
        return np.float64(random.random())


class ByMeta(type):
    def __getattr__(cls, name):
        return time.time()


class OfMeta(metaclass=ByMeta):
    pass


class Float(float):
    def __mul__(self, other):
        return other * time.time()


class Texts(dict):
    def __missing__(self, key):
        return time.time()


class Held(list):
    pass


class Descriptor:
    def __get__(self, x, cls):
        return time.time()


class Described:
    scale = Descriptor()


class Asked:
    def __getattr__(self, name):
        return time.time()


class Called:
    def __call__(self, w):
        return w * time.time()


class Indexed:
    def __getitem__(self, i):
        return random.random()


class Property:
    @property
    def scale(self):
        return time.time()

    @staticmethod
    def fixed(w):
        return w

    @classmethod
    def of(cls, w):
        return w


class Static:
    @staticmethod
    def scale():
        return time.time()


class Lasting:
    @functools.cached_property
    def scale(self):
        return STREAM.random()


class Slots:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Hidden:
    __slots__ = ("__x",)

    def __init__(self, x):
        self.__x = x


class Sub(np.ndarray):
    def __mul__(self, other):
        return other * time.time()


class WithMethod(NamedTuple):
    scale: float

    def at(self):
        return self.scale * time.time()


@dataclasses.dataclass
class Stamped:
    at: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass
class After:
    scale: float = 1.0

    def __post_init__(self):
        self.scale = random.random()


def attributes(count):
    x = types.new_class("Many")()
    for i in range(count):
        setattr(x, f"a{i}", float(i))
    return x


held = Held([1.0])
held.scale = now
NOT_CLOSED = {
    "a clock": lambda w: w * time.time(),
    "a clock by name": lambda w: w * now(),
    "a clock as a default": lambda w, clock=time.perf_counter: w * clock(),
    "a date": lambda w: w * np.datetime64("now").astype(float),
    "random": lambda w: w * random.random(),
    "np.random": lambda w: w * np.random.default_rng().random(),
    "default_rng": lambda w: w * default_rng().random(),
    "a Generator": lambda w: w * STREAM.random(),
    "a RandomState": holding(np.random.RandomState(0)),
    "a Random": holding(random.Random(0)),
    "a method of a Generator": holding(STREAM.standard_normal),
    "a file": lambda w: w * float(open("x").read()),  # noqa: PTH123, SIM115
    "an open file": holding(io.StringIO("1.0")),
    "np.load": lambda w: w * np.load("x"),
    "load": lambda w: w * load("x"),
    "frombuffer": lambda w: w * frombuffer(b"12345678"),
    "a memoryview": holding(memoryview(np.ones(3))),
    "an array over a buffer": holding(np.frombuffer(BUFFER)),
    "a view of one": holding(np.frombuffer(BUFFER)[1:]),
    "bytes that change": holding(bytearray(b"12")),
    "an array of another kind": holding(np.ones(3).view(Sub)),
    "an array of objects": holding(np.array([1.0, Clock], object)),
    "a mask": holding(np.ma.array([1.0, 2.0], mask=[0, 1])),
    "a global counter": counted,
    "a nonlocal counter": remembered(),
    "getattr": lambda w: w * getattr(TABLE, "x" + "y", 1.0),
    "attrgetter": lambda w: operator.attrgetter("random.random")(np)() * w,
    "eval": lambda w: eval("w * 2"),
    "globals": lambda w: w * globals()["COUNT"],
    "next": lambda w: w * next(iter([1.0])),
    "a code's globals": lambda w: w * holding.__globals__["COUNT"],
    "print": lambda w: print(w) or w,
    "an import": imported,
    "a generator function": made_one_by_one,
    "a generator": holding(x for x in range(3)),
    "an iterator": holding(iter([1.0, 2.0])),
    "a count": holding(itertools.count()),
    "a cycle": holding(itertools.cycle([1.0, 2.0])),
    "a map": holding(map(float, "123")),
    "lru_cache": lambda w: w * cached(3),
    "another's name": lambda w: another_name(w) * 2.0,
    "a closure of a library": holding(functools.partial(ad.recorded, on_the_clock)),
    "np.vectorize": holding(np.vectorize(on_the_clock)),
    "frompyfunc": holding(np.frompyfunc(on_the_clock, 1, 1)),
    "a partial": functools.partial(lambda f, w: w * f(), now),
    "a partial of one": functools.partial(on_the_clock),
    "a class that is made": lambda w: w * Clock().at,
    "a class that makes another": lambda w: w * New(),
    "a dataclass that is made": lambda w: w * Stamped().at,
    "after it is made": lambda w: w * After().scale,
    "a metaclass": lambda w: w * OfMeta.scale,
    "a float of another kind": holding(Float(2.0)),
    "a dictionary of another kind": holding(Texts(a=1.0)),
    "a default dictionary": holding(collections.defaultdict(now)),
    "a list of another kind": holding(held),
    "a descriptor": holding(Described()),
    "__getattr__": holding(Asked()),
    "__call__": Called(),
    "__getitem__": holding(Indexed()),
    "a property": holding(Property()),
    "a static method": holding(Static()),
    "a cached property": holding(Lasting()),
    "slots": holding(Slots(now)),
    "slots by another name": holding(Hidden(1.0)),
    "a NamedTuple with a method": holding(WithMethod(1.0)),
    "in a tuple": holding((1.0, [{"a": now}])),
    "keys": holding({Called(): 1.0}),
    "a set": holding({Called()}),
    "an attribute of a function": functools.wraps(on_the_clock)(lambda w: w),
    "an own module": lambda w: w * runs.data()[1],
    "a lock": holding(threading.Lock()),
    "a thread's own": holding(threading.local()),
    "SimpleNamespace": holding(types.SimpleNamespace(a=1.0)),
    "what is not there": lambda w: w * not_there,  # noqa: F821
}


@pytest.mark.parametrize("name", NOT_CLOSED)
def test_what_cannot_be_read_through(name):
    assert not is_closed(NOT_CLOSED[name])
    assert not is_closed([1.0, {"f": NOT_CLOSED[name]}])


class Pair(NamedTuple):
    a: object
    b: object = 2.0


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1
    parts: tuple = (1.0, 2.0)

    def scaled(self, w):
        return Config(self.rate * 2.0).rate * w


class Base:
    scale = 2.0

    def __init__(self, x):
        self.x = x
        self._y = [x, {"z": 3.0}]

    def at(self, w):
        return self.x * w * self.scale


class Derived(Base):
    def at(self, w):
        try:
            return super().at(w) + Base(1.0).at(w)
        except ValueError as why:
            raise TypeError(str(why)) from None

    @property
    def twice(self):
        return 2.0 * self.x

    def __call__(self, w):
        return self.twice * self.at(w)


HELD = Slots(2.0)


def nested(w):
    def inner(u):
        return np.sum(u * w) + sum(x for x in (1.0, 2.0))

    return inner(w) + max(len(w), 1) + np.sum(w, axis=-1)


CLOSED = {
    "NumPy": lambda w: np.sum(np.exp(w) * np.linalg.norm(w) - w.sum(), axis=-1),
    "data": holding(np.arange(6.0).reshape(2, 3).T),
    "many attributes": holding(attributes(65)),
    "a table": lambda w: w * TABLE["a"] * TABLE["b"][0],
    "functions in functions": nested,
    "a NamedTuple": lambda w: Pair(w)._replace(b=w * 2.0).b,
    "one that is held": holding(Pair(np.ones(3))),
    "a dataclass": Config().scaled,
    "a method": Derived(1.5).at,
    "an object": Derived(np.ones(3)),
    "an object that is held": lambda w, x=HELD: x.x * w,
    "slots": holding(Slots(np.ones(3))),
    "a partial": functools.partial(lambda a, w: a * w, 2.0),
    "a task and rules": [mg.FunctionTask(nested, w0=np.ones((2, 3))), mg.Adam(), mg.Scheduled(mg.Momentum())],
    "a gradient": lambda w: ad.grad(lambda u: np.sum(u**2))(w) * 2.0,
    "numbers": holding(
        (1, 2.0, True, "text", b"bytes", None, np.float32(3.0), 1j, range(3), slice(1, 2), np.dtype("f8"))
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_can_be_read_through(name):
    assert is_closed(CLOSED[name])


def test_arrays_up_to_a_size(monkeypatch):
    monkeypatch.setattr(closed, "MOST_BYTES", 80)
    assert is_closed(holding(np.ones(10)))
    assert not is_closed(holding(np.ones(11)))


def test_other_builtins_are_not_read():
    def f(w):
        return abs(w)

    own = types.FunctionType(f.__code__, {"__builtins__": {**vars(builtins), "abs": lambda x: x}})
    assert is_closed(f)
    assert not is_closed(own)


def test_what_is_said_beside_a_dtype_is_not_read():
    assert not is_closed(lambda w: w * len(w.dtype.metadata or ()))
