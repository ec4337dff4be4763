"""A program on a device as one launch: a CUDA graph of all that it launches, captured once.

A graph reads and writes the memory that it was captured with. So inputs are copied to where those of the capture lay,
and results are copied from there; all that is made in between lies in a pool that nobody else takes memory from, and
that lives as long as the graph. What is captured is not run: the calls are made once before, so that every kernel is
compiled, and the memory is there.

Numbers that Python computes from the time are arguments of a kernel, which a capture would keep for ever. They are
arrays of one number there, of the dtype that the kernel would make of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from metagrad.replay.bits import same_bits
from metagrad.replay.seen import still_run
from metagrad.xp import Array, Namespace

Run = Callable[..., Any]


class Captured:
    """A function of arrays, (arrays, the largest entry that is looked at), as a graph."""

    def __init__(self, xp: Namespace, run: Run, given: Sequence[Array], numbers: Sequence[Array]) -> None:
        """Capture run(*given, *numbers); what the array module or the driver raises is left to whoever asks.

        `numbers`: arrays of one number, without axes.
        """
        cuda = xp.cuda
        self._run, self._copied = None, list[Any]()  # the run, and what of it lies where the graph reads it
        self._pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        self._cuda, self._done, self._multiply = cuda, cuda.Event(disable_timing=True), xp.multiply
        cuda.get_current_stream().synchronize()  # the new stream waits for nothing
        with cuda.using_allocator(self._pool.malloc):
            self._given, self._numbers = [x.copy("K") for x in given], [x.copy() for x in numbers]
            self._ones = [xp.ones_like(x) for x in numbers]
            if any(a.strides != b.strides for a, b in zip(self._given, given, strict=True)):
                raise NotCaptured("its inputs lie in memory with gaps")
            cuda.get_current_stream().synchronize()
            with stream:
                run(*self._given, *self._numbers)
                stream.synchronize()
                self._graph, (self._made, self._top) = _capture(stream, run, [*self._given, *self._numbers])
        self._done.record()

    def __call__(self, given: Sequence[Array], numbers: Sequence[Any]) -> tuple[list[Array], Array | None]:
        """Return what the function gives, in arrays of their own."""
        run = still_run()
        if run is None or run is not self._run:
            self._run, self._copied = run, [None] * len(given)
        # Another stream may be at it: the memory of the graph is one launch's.
        self._cuda.get_current_stream().wait_event(self._done)
        for k, x in enumerate(given):
            if x is not self._copied[k]:  # phi and the data are the same at every step
                self._given[k][...] = x
        for one, x, into in zip(self._ones, numbers, self._numbers, strict=True):
            self._multiply(one, x, out=into)  # to fill it with -0.0 would make it 0.0
        if run is not None:
            self._copied = [*given]
        self._graph.launch()
        found = [x.copy("K") for x in self._made], None if self._top is None else self._top.copy()
        self._done.record()
        return found

    @property
    def nbytes(self) -> int:
        """The memory of the pool."""
        return int(self._pool.total_bytes())


class NotCaptured(Exception):  # noqa: N818  # it is an answer: the calls are there
    """A program cannot be a graph: why, in a few words."""


class Tried(NamedTuple):
    """A graph, or why there is none."""

    graph: Captured | None
    why_not: str | None = None


def captured(
    xp: Namespace, run: Run, given: Sequence[Array], numbers: Sequence[Array], expected: Sequence[Array]
) -> Tried:
    """Return run(*given, *numbers) as a graph, which has to give what is expected."""
    try:
        graph = Captured(xp, run, given, numbers)
        found, _ = graph(given, [x.item() for x in numbers])
    except NotCaptured as why:
        return Tried(None, str(why))
    except Exception as error:  # of the array module or the driver: whatever it is, the calls are there
        return Tried(None, f"capturing it failed ({type(error).__name__}: {error})".splitlines()[0][:200])
    return Tried(graph) if same_bits(found, expected) else Tried(None, "as one launch it gives other bits")


def _capture(stream: Any, run: Run, given: Sequence[Array]) -> tuple[Any, Any]:
    """Return the graph of run(*given), and its result; a capture that fails is ended all the same."""
    stream.begin_capture()
    try:
        found = run(*given)
    except BaseException:
        with suppress(Exception):  # it is over already, as a rule
            stream.end_capture()
        raise
    return stream.end_capture(), found
