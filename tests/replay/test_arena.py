"""Memory of programs: where buffers lie, what programs have in common, and what is let go of."""

import gc
from functools import partial
from threading import Event, Thread

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import cache, replayed
from metagrad.replay.arena import Arena, Packing
from metagrad.replay.bits import same_bits
from metagrad.replay.buffers import allocated
from metagrad.replay.program import Graph
from metagrad.replay.record import Program, recorded
from metagrad.replay.whole_program import WholeProgram
from metagrad.xp import rng
from tests.replay.runs import logistic

LARGE = rng(0, "arena").standard_normal((40, 30))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_needed_at_the_same_time_does_not_overlap(seed):
    draw, packing, slots = rng(seed, "packing"), Packing(), []
    for time in range(60):
        for _ in range(draw.integers(3)):
            end, size = time + int(draw.integers(20)), int(draw.choice([0, 8, 100, 1000, 1001, 5000]))
            number = packing.begin(time, size)
            if end < 70:
                packing.end(number, end)
            slots.append((time, end if end < 70 else 1 << 40, size))
    places, nbytes = packing.places()
    live = [0] * 60
    for k, ((first, last, size), place) in enumerate(zip(slots, places, strict=True)):
        assert place % (64 if size >= 64 else 16) == 0
        assert place + size <= nbytes
        for (other, until, n), there in zip(slots[:k], places[:k], strict=True):
            assert last < other or until < first or place + size <= there or there + n <= place
        for time in range(first, min(last, 59) + 1):
            live[time] += max(64, size)
    assert nbytes <= 1.3 * max(live) + 64 * len(slots)


def test_nothing_is_packed_in_nothing():
    assert Packing().places() == ([], 0)


def test_a_block_lives_as_long_as_somebody_has_it():
    arena = Arena()
    small, large = arena.block(1000), arena.block(5000)
    assert np.shares_memory(arena.block(900), small)
    assert np.shares_memory(arena.block(4000), large)
    assert small.ctypes.data % 64 == large.ctypes.data % 64 == 0
    held = arena.nbytes
    assert 6000 <= held <= 6200
    del small
    gc.collect()
    assert 5000 <= arena.nbytes <= 5100
    view = large[7:100].reshape(3, 31)
    del large
    gc.collect()
    assert 5000 <= arena.nbytes <= 5100
    del view
    gc.collect()
    assert arena.nbytes == 0


def test_a_view_of_what_a_call_reads_is_not_written_over():
    graph = Graph()
    x = graph.input(np.ones((20, 20)))
    made = graph.call(np.exp, (x,), {})
    both = graph.call(np.power, (made, graph.call(np.transpose, (made,), {})), {})
    once = graph.call(np.power, (graph.call(np.sin, (x,), {}), 2.5), {})
    found = allocated(graph.values, [graph.call(np.add, (both, once), {})])
    assert not np.shares_memory(found.arrays[both.number], found.arrays[made.number])
    assert np.shares_memory(found.arrays[once.number], found.arrays[once.number - 1])


def test_numpys_buffers_go_when_there_is_machine_code():
    pytest.importorskip("numba")
    program = recorded(lambda x: np.maximum(np.exp(np.sin(x) * 0.3) @ x.T, 0.0) + 1.0, (LARGE,))
    before = program._arena.nbytes
    assert before > LARGE.nbytes
    with replayed(compiled="at once"):
        found = program([LARGE])
    assert type(program._compiled) is WholeProgram
    assert program._numpy is None
    code = program._arena.code.nbytes
    gc.collect()
    assert program._arena.nbytes == code <= before + 128
    with replayed(compiled="never"):  # made again, from what holds no result
        assert same_bits(program([LARGE]), found)
    assert same_bits(program([LARGE]), found)


def test_programs_write_over_each_others_buffers():
    """The second needs more memory than the first, which moves there."""
    pytest.importorskip("numba")
    arena = Arena()
    first = recorded(lambda x: np.exp(np.exp(x[:5]) @ x[:5].T) + 1.0, (LARGE,), partial(Program, arena=arena))
    second = recorded(lambda x: np.exp(np.sin(np.exp(x)) @ np.cos(x).T) + 1.0, (LARGE,), partial(Program, arena=arena))
    with replayed(compiled="at once"):
        expected = [program([LARGE]) for program in (first, second)]
    wholes = [first._compiled, second._compiled]
    assert [type(whole) for whole in wholes] == [WholeProgram] * 2
    assert wholes[0].block.base is wholes[1].block.base
    gc.collect()
    assert arena.nbytes == wholes[1].block.base.nbytes
    for _ in range(2):
        for program, found in zip((first, second), expected, strict=True):
            assert same_bits(program([LARGE]), found)
            assert not np.shares_memory(program([LARGE]), wholes[0].block)
    del second, program
    wholes.pop()
    gc.collect()
    assert same_bits(first([LARGE]), expected[0])


def test_one_run_at_a_time_is_in_an_arena():
    arena = Arena()
    first, second = (
        recorded(lambda x, k=k: np.exp(x) * k + np.sin(x), (LARGE,), partial(Program, arena=arena)) for k in (1.0, 2.0)
    )
    assert first.lock is second.lock
    done = Event()
    with first.lock:
        thread = Thread(target=lambda: (second([LARGE]), done.set()))
        thread.start()
        assert not done.wait(0.05)
    thread.join()
    assert done.is_set()


def test_a_step_and_its_pullback_hold_so_much():
    """A step has two programs, its pullback has two: of each pair there is the memory of one, and none of NumPy's."""
    pytest.importorskip("numba")
    task = logistic(64, 50, 20)
    with replayed(compiled="at once"):
        for _ in range(4):
            mg.Reverse()(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=40)
    step = next(routines for _, routines in cache._KEPT[id(task)][1] if routines.spare.nbytes or routines.runs)
    assert step.step.arena is step.keeping.arena
    assert step.pull.arena is step.given.arena
    assert step.step.arena.lock is not step.pull.arena.lock
    for way in (step.step, step.pull):
        compiled = [p for one in (step.step, step.keeping, step.pull, step.given) if one.arena is way.arena
                    for p in one._programs.values()]  # fmt: skip
        assert all(p._numpy is None for p in compiled if p.is_compiled)
        blocks = [p.whole.block for p in compiled if p.whole is not None and p.whole.block is not None]
        assert way.arena.code.nbytes <= max((len(block.base) for block in blocks), default=0)
    arenas = [step.step.arena, step.pull.arena, step.push.arena]
    assert step.nbytes >= sum(arena.nbytes for arena in arenas)
