"""The program with its chains compiled: NumPy's calls as before, and between them one call for each chain.

A program is NumPy's first. When its runs have taken as long as compiling does, it is compiled (or at once, where that is
asked for), compared with NumPy's on the inputs at hand, and takes over where every bit is the same; else it stays
NumPy's, for the reason that is kept. It is NumPy's, too, without Numba, and where compiling fails.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from metagrad.protocols import Tree
from metagrad.replay.bits import same_bits
from metagrad.replay.buffers import Buffers, Unit, placed
from metagrad.replay.chains import grouped
from metagrad.replay.cheap import Cheap, cheap
from metagrad.replay.functions import is_fresh
from metagrad.replay.loops import Lowered, lowered
from metagrad.replay.numpy_code import Run, Source, finished, is_float
from metagrad.replay.program import Value, replaced

PAYS, KNOWN = 1.0, 0.05  # seconds of runs from which on to compile, and to look whether others have compiled it
_FEWEST = 3  # cheap calls that are worth it
_MOST_BYTES = 1 << 26  # of buffers
_LARGE = 1 << 12  # bytes of an example that is not kept


class Recipe(NamedTuple):
    """A program as values: what its passes have left, and what is to be returned and looked at."""

    inputs: list[Value]
    calls: list[Value]
    outputs: list[Value]
    tree: Tree
    guards: list[tuple[Value, bool]]
    watched: list[Value]

    def light(self) -> Recipe:
        """Return a copy of its own that holds no large results."""
        new: dict[int, Value] = {}

        def copied(v: Value) -> Value:
            if v.is_constant:
                return v
            if v.number not in new:
                kwargs = {name: replaced(x, copied) for name, x in v.kwargs.items()}
                args, is_input = replaced(v.args, copied), v.number in given
                new[v.number] = Value(v.number, _hollow(v.example), v.function, args, kwargs, is_input=is_input)
            return new[v.number]

        given = {v.number for v in self.inputs}
        for v in self.inputs:
            new[v.number] = Value(v.number, _hollow(v.example), is_input=True)
        calls = [copied(v) for v in self.calls]
        guards = [(copied(v), expected) for v, expected in self.guards]
        outputs, watched = ([copied(v) for v in vs] for vs in (self.outputs, self.watched))
        return Recipe([new[v.number] for v in self.inputs], calls, outputs, self.tree, guards, watched)


def _hollow(example: Any) -> Any:
    """Return an array of the same shape, dtype and layout, with no memory of that size."""
    if type(example) is not np.ndarray or example.nbytes < _LARGE:
        return example
    one = np.zeros(1, example.dtype)
    return np.lib.stride_tricks.as_strided(one, example.shape, example.strides, writeable=False)


class Switched(NamedTuple):
    """A compiled program with its source and the bytes of its buffers; without one, the reason."""

    run: Run | None
    text: str
    nbytes: int = 0


class Plan:
    """A program in chains and calls, not yet compiled."""

    def __init__(self, recipe: Recipe) -> None:
        """Find the chains; operations that do not agree with NumPy's are left out."""
        from metagrad.replay.agree import disagreeing

        self._recipe = recipe
        calls = {v.number: found for v in recipe.calls if (found := cheap(v)) is not None}
        bad = disagreeing({operation for call in calls.values() for operation in operations_of(call)})
        calls = {number: call for number, call in calls.items() if not bad.intersection(operations_of(call))}
        self.joined = len(calls)
        guards = [v for v, _ in recipe.guards]
        self._units = grouped(recipe.calls, recipe.outputs, guards, calls)
        watched = {v.number for v in recipe.watched}
        self._chains: list[Lowered | None] = []
        self._looked = set[int]()
        for unit in self._units:
            chain = lowered(unit, calls, watched - self._looked) if unit.is_chain else None
            self._chains.append(chain)
            self._looked |= chain.looked if chain is not None else set()

    @property
    def kernels(self) -> list[Any]:
        """What is compiled for it."""
        return [chain.kernel for chain in self._chains if chain is not None]

    def code(self) -> tuple[Run, str, int]:
        """Return the program as a function of its inputs, its source, and the bytes of its buffers."""
        from metagrad.replay.machine import function_of

        recipe, buffers = self._recipe, placed(self._units, self._recipe.outputs, 0)
        if buffers.nbytes > _MOST_BYTES:
            raise MemoryError(f"its buffers would take {buffers.nbytes >> 20} MiB")
        source = _Source(buffers)
        names = [source.take(v) for v in recipe.inputs]
        waiting = {v.number: expected for v, expected in recipe.guards}
        looked = {v.number for v in recipe.watched} - self._looked
        source.check(Unit(tuple(recipe.inputs), ()), waiting, looked)
        for unit, chain in zip(self._units, self._chains, strict=True):
            if chain is None:
                source.call(unit.values[0])
            else:
                source.chain(chain, function_of(chain.kernel))
            source.check(unit, waiting, looked)
        run, text = finished(source, names, recipe.outputs, recipe.tree)
        return run, "\n".join([text, *[f"# {kernel}".replace("\n", "\n# ") for kernel in self.kernels]]), buffers.nbytes


def operations_of(call: Cheap) -> set[tuple[str, str]]:
    """Return what has to agree with NumPy's."""
    return set() if call.name == "copy" else {(call.name, call.kinds[-1])}


class _Source(Source):
    """The lines of a program with chains."""

    def chain(self, chain: Lowered, function: Any) -> None:
        """Add the call of a chain, which returns whether it saw a NaN where one is looked for."""
        arguments = [self.bind(chain.table, "t"), *map(self.name, chain.operands)]
        arguments += map(self._room, chain.written)
        after = []
        for kind, values in chain.kept.items():
            room = np.zeros(len(values), kind)
            arguments.append(name := self.bind(room, "n"))
            for i, v in enumerate(values):
                if type(v.example) is np.ndarray:  # one without axes
                    self._arrays[v.number] = view = room[i : i + 1].reshape(())
                    self._names[v.number] = self.bind(view, "b")
                else:
                    self._names[v.number] = f"v{v.number}"
                    after.append(f"v{v.number} = {name}[{i}]")
        call = f"{self.bind(function, 'chain')}({', '.join(arguments)})"
        self.lines.append(f"if {call}: return None" if chain.kernel.looks else call)
        self.lines += after

    def _room(self, v: Value) -> str:
        """Return the name of an array to write into: a buffer, or a new one."""
        buffer = self._buffers.arrays.get(v.number)
        if buffer is not None:
            self._arrays[v.number] = buffer
            name = self._names[v.number] = self.bind(buffer, "b")
            return name
        name = self._names[v.number] = f"v{v.number}"
        self._made.add(v.number)
        shape, dtype = v.example.shape, v.example.dtype
        if v.example.flags.c_contiguous:
            self.lines.append(f"{name} = {self.bind(np.empty, 'f')}({self.bind(shape, 'k')}, {self.bind(dtype, 'k')})")
        else:
            model = np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, v.example.strides)
            self.lines.append(f"{name} = {self.bind(np.empty_like, 'f')}({self.bind(model, 'k')})")
        return name

    def check(self, unit: Unit, waiting: dict[int, bool], looked: set[int]) -> None:
        """Add the guards and the looks for NaN at what a unit has made."""
        for v in unit.values:
            if v.number in waiting:
                self.guard(v, expected=waiting[v.number])
            if v.number in looked and is_float(v.example):
                self.look(v)


class Later:
    """A program of NumPy's that is to be compiled when that pays."""

    def __init__(self, recipe: Recipe) -> None:
        """Keep what it is made from."""
        self._recipe, self._plan = recipe.light(), None
        self._spent, self._looked_at = 0.0, KNOWN

    def run(self, numpy_run: Run, inputs: Sequence[Any], *, at_once: bool) -> tuple[Tree | None, Switched | None]:
        """Return what the program gives, and what became of it, once that is known."""
        start = perf_counter()
        found = numpy_run(*inputs)
        self._spent += perf_counter() - start
        if found is None or not (at_once or self._spent >= self._looked_at):
            return found, None
        self._looked_at = PAYS
        if not at_once and self._spent < PAYS and not _is_known(self._recipe):
            return found, None
        return found, _switched(self._recipe, inputs, found)


def _is_known(recipe: Recipe) -> bool:
    """Whether all of a program has been compiled for others."""
    machine, agree = (sys.modules.get(f"metagrad.replay.{name}") for name in ("machine", "agree"))
    if machine is None or agree is None:
        return False
    calls = [found for v in recipe.calls if (found := cheap(v)) is not None]
    if not agree.are_known({operation for call in calls for operation in operations_of(call)}):
        return False
    return all(kernel in machine.FUNCTIONS for kernel in Plan(recipe).kernels)


def _switched(recipe: Recipe, inputs: Sequence[Any], expected: Tree) -> Switched:
    """Return the compiled program where it gives the same bits, else why there is none."""
    from metagrad.replay.machine import why_not

    missing = why_not()
    if missing is not None:
        return Switched(None, missing)
    try:
        plan = Plan(recipe)
        if plan.joined < _FEWEST:
            return Switched(None, "it has few calls to join")
        run, source, nbytes = plan.code()
        found = run(*inputs)
    except Exception as error:  # of a compiler: whatever it is, NumPy's program is there
        return Switched(None, f"compiling it failed ({type(error).__name__}: {error})".splitlines()[0][:200])
    if not same_bits(found, expected, any_nan=True):
        return Switched(None, "compiled, it gives other bits than NumPy")
    return Switched(run, source, nbytes)
