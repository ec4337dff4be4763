"""When a program is compiled, and what happens where it cannot be."""

import operator
import sys

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import agree, compiled, machine, replayed, whole_code
from metagrad.replay.bits import same_bits
from metagrad.replay.cheap import cheap
from metagrad.replay.program import Graph
from metagrad.replay.record import recorded
from metagrad.replay.traced import Traced
from metagrad.xp import rng
from tests.replay.runs import both, logistic

pytest.importorskip("numba")


def program_of_three():
    x = rng(0, "x").standard_normal((6, 7))
    return recorded(lambda x: np.maximum(x * 0.3 - 1.0, 0.0) + x, (x,)), x


def test_it_is_compiled_when_that_pays(monkeypatch):
    program, x = program_of_three()
    program([x])
    assert not program.is_compiled  # nor is a reason known
    assert program.why_not_compiled is None
    monkeypatch.setattr(compiled, "PAYS", 0.0)
    program._later._looked_at = 0.0
    program([x])
    assert program.is_compiled
    other, x = program_of_three()
    monkeypatch.setattr(compiled, "PAYS", 1e9)
    other._later._looked_at = 0.0
    other([x])
    assert other.is_compiled  # its kernels are known


def test_never_is_never():
    program, x = program_of_three()
    program._later._spent = 1e9
    with replayed(compiled="never"):
        program([x])
    assert not program.is_compiled


def test_without_numba(monkeypatch):
    """It goes on with NumPy, and the reason is kept."""
    monkeypatch.setitem(sys.modules, "numba", None)
    machine.why_not.cache_clear()
    try:
        program, x = program_of_three()
        with replayed(compiled="at once"):
            found = program([x])
            assert same_bits(program([x]), found)
            assert not program.is_compiled
            assert "`fast`" in program.why_not_compiled
            found = both(logistic(), mg.Adam(), mg.Adam.Phi(0.1))
            assert "Programs stay NumPy's: " in found.report()
    finally:
        machine.why_not.cache_clear()


def test_a_compiler_that_fails(monkeypatch):
    def fail(kernel):
        raise RuntimeError("no")

    monkeypatch.setattr(machine, "_compiled", fail)
    monkeypatch.setattr(whole_code, "_compiled", fail)
    monkeypatch.setattr(machine, "FUNCTIONS", {})
    monkeypatch.setattr(whole_code, "FUNCTIONS", {})
    monkeypatch.setattr(agree, "_KNOWN", {})
    program, x = program_of_three()
    with replayed(compiled="at once"):
        assert same_bits(program([x]), program([x]))
    assert program.why_not_compiled == "compiling it failed (RuntimeError: no)"


def test_a_compiler_that_is_wrong(monkeypatch):
    """One other bit, and the program stays NumPy's."""
    monkeypatch.setattr(machine, "FUNCTIONS", {})
    monkeypatch.setattr(whole_code, "FUNCTIONS", {})
    monkeypatch.setitem(machine._ARITHMETIC, "add", "fsub")
    monkeypatch.setattr("metagrad.replay.agree.disagreeing", lambda operations: set())
    program, x = program_of_three()
    with replayed(compiled="at once"):
        first = program([x])
        assert same_bits(program([x]), first)
    assert program.why_not_compiled == "compiled, it gives other bits than NumPy"


def test_operations_that_do_not_agree_are_left_to_numpy(monkeypatch):
    monkeypatch.setattr(machine, "FUNCTIONS", {})
    monkeypatch.setattr(whole_code, "FUNCTIONS", {})
    monkeypatch.setattr(agree, "_KNOWN", {})
    monkeypatch.setitem(machine._ARITHMETIC, "add", "fsub")
    assert agree.disagreeing({("add", "f8"), ("multiply", "f8")}) == {("add", "f8")}
    assert agree.disagreeing({("add", "f4")}) == {("add", "f4")}
    program, x = program_of_three()
    with replayed(compiled="at once"):
        first = program([x])
        assert program.is_compiled
        assert same_bits(program([x]), first)


def test_zeros_are_told_apart(monkeypatch):
    """A maximum that takes the other one of two equal zeros is found out."""
    monkeypatch.setattr(machine, "FUNCTIONS", {})
    monkeypatch.setattr(whole_code, "FUNCTIONS", {})
    monkeypatch.setattr(agree, "_KNOWN", {})
    extreme = machine.Code._extreme
    monkeypatch.setattr(machine.Code, "_extreme", lambda self, how, x, y: extreme(self, how + "=", x, y))
    assert agree.disagreeing({("maximum", "f8"), ("minimum", "f4"), ("sign", "f8")}) == {
        ("maximum", "f8"),
        ("minimum", "f4"),
    }


def test_cheap_is_what_is_exactly_rounded():
    graph = Graph()
    x = graph.input(rng(0, "x").standard_normal((3, 4)))
    flags = graph.call(np.less, (x, 0.0), {})
    for function, args in (
        (np.exp, (x,)),
        (np.power, (x, 3)),
        (operator.pow, (x, 3)),
        (np.add, (flags, flags)),
        (np.fmax, (x, x)),
        (np.signbit, (x,)),
        (np.matmul, (x, graph.call(np.transpose, (x,), {}))),
        (np.reshape, (x, (4, 3))),
        (np.floor_divide, (x, 2.0)),
        (np.multiply, (x, 1 << 60)),
    ):
        assert cheap(graph.call(function, args, {})) is None
    for function, args in ((np.square, (x,)), (operator.and_, (flags, flags)), (np.where, (flags, x, 0.0))):
        assert cheap(graph.call(function, args, {})) is not None
    assert isinstance(Traced(graph, x), Traced)
