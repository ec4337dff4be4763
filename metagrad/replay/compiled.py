"""The program with its chains compiled: NumPy's calls as before, and between them one call for each chain.

A program is NumPy's first. When its runs have taken as long as compiling does, it is compiled (or at once, where that
is asked for), compared with NumPy's on the inputs at hand, and takes over where every bit is the same; else it stays
NumPy's, for the reason that is kept. It is NumPy's, too, without Numba, and where compiling fails.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metagrad.protocols import Tree
from metagrad.replay.arena import Arena
from metagrad.replay.bits import same_bits
from metagrad.replay.buffers import Buffers, Unit, allocated, placed
from metagrad.replay.chains import grouped
from metagrad.replay.cheap import Cheap, cheap
from metagrad.replay.loops import Kernel, lowered
from metagrad.replay.numpy_code import Run, Source, defined, ended, is_float, numpy_code
from metagrad.replay.program import Value, replaced
from metagrad.replay.sums import pattern

if TYPE_CHECKING:
    from metagrad.replay.whole import Planned

PAYS, KNOWN = 1.0, 0.05  # seconds of runs from which on to compile, and to look whether others have compiled it
_FEWEST = 3  # cheap calls that are worth it
_MOST_BYTES = 1 << 26  # of buffers
_LARGE = 1 << 6  # bytes of an example that is not kept


class Recipe(NamedTuple):
    """A program as values: what its passes have left, and what is to be returned and looked at."""

    inputs: list[Value]
    calls: list[Value]
    outputs: list[Value]
    tree: Tree
    guards: list[tuple[Value, bool]]
    watched: list[Value]
    arena: Arena | None = None  # of its buffers

    @property
    def of_code(self) -> Arena | None:
        """The memory of machine code."""
        return None if self.arena is None else self.arena.code

    def whole(self) -> Planned:
        """Return it as one function; NotWhole where that cannot be."""
        from metagrad.replay.whole import planned

        return planned(self.inputs, self.calls.copy(), self.outputs, self.guards, self.watched, self.of_code)

    def by_numpy(self) -> tuple[Run, str, int]:
        """Return it as calls of NumPy's, its source, and the bytes of its buffers."""
        buffers = allocated(self.calls, self.outputs, self.arena)
        of = self.inputs, self.calls, self.outputs, self.tree, buffers
        run, text = numpy_code(*of, guards=self.guards, watched=self.watched)
        return run, text, buffers.nbytes

    def light(self) -> Recipe:
        """Return a copy of its own that holds no large results."""
        new: dict[int, Value] = {}
        known: dict[Any, Any] = {}  # arrays without memory, by how they lie

        def copied(v: Value) -> Value:
            if v.is_constant:
                return v
            if v.number not in new:
                kwargs = {name: replaced(x, copied) for name, x in v.kwargs.items()}
                args, is_input = replaced(v.args, copied), v.number in given
                new[v.number] = Value(v.number, _hollow(v.example, known), v.function, args, kwargs, is_input=is_input)
            return new[v.number]

        given = {v.number for v in self.inputs}
        for v in self.inputs:
            new[v.number] = Value(v.number, _hollow(v.example, known), is_input=True)
        calls = [copied(v) for v in self.calls]
        guards = [(copied(v), expected) for v, expected in self.guards]
        outputs, watched = ([copied(v) for v in vs] for vs in (self.outputs, self.watched))
        inputs = [new[v.number] for v in self.inputs]
        return Recipe(inputs, calls, outputs, self.tree, guards, watched, self.arena)


def _hollow(example: Any, known: dict[Any, Any]) -> Any:
    """Return an array of the same shape, dtype and layout, with no memory of that size; the same for those alike."""
    if type(example) is not np.ndarray or example.nbytes < _LARGE:
        return example
    key = example.shape, example.strides, example.dtype
    if key not in known:
        one = np.zeros(1, example.dtype)
        known[key] = np.lib.stride_tricks.as_strided(one, example.shape, example.strides, writeable=False)
    return known[key]


class Switched(NamedTuple):
    """A compiled program with its source; without one, the reason."""

    run: Run | None
    text: str


class Plan:
    """A program in chains and calls, as source whose chains are not compiled yet."""

    def __init__(self, recipe: Recipe) -> None:
        """Find the chains; operations that do not agree with NumPy's are left out."""
        from metagrad.replay.agree import disagreeing, operations_of

        calls = {v.number: found for v in recipe.calls if (found := cheap(v)) is not None}
        bad = disagreeing({operation for call in calls.values() for operation in operations_of(call)})
        calls = {number: call for number, call in calls.items() if not bad.intersection(operations_of(call))}
        self.joined = len(calls)
        self.units = grouped(recipe.calls, recipe.outputs, [v for v, _ in recipe.guards], calls)
        self.buffers = placed(self.units, recipe.outputs, 0, recipe.of_code)
        self._source, self._recipe = _Source(self.buffers, calls), recipe
        names = [self._source.take(v) for v in recipe.inputs]
        self._write()
        self._text = ended(self._source, names, recipe.outputs, recipe.tree)

    def _write(self) -> None:
        recipe, source = self._recipe, self._source
        waiting = {v.number: expected for v, expected in recipe.guards}
        looked = {v.number for v in recipe.watched}
        made = [v for unit in self.units if unit.is_chain for v in unit.values]
        at_hand = {x.number for v in made for x in (v, *([] if pattern(v) else v.operands()))}
        later = looked & at_hand  # by the first chain that has it in a register
        source.check(Unit(tuple(recipe.inputs), ()), waiting, looked - later)
        for unit in self.units:
            if unit.is_chain:
                later -= source.chain(unit, later)
            else:
                source.call(unit.values[0])
            source.check(unit, waiting, looked - later if not unit.is_chain else set())
        if any(v.number in later and is_float(v.example) for v in recipe.watched):
            raise AssertionError("it does not look for NaN where it should")

    @property
    def kernels(self) -> list[Kernel]:
        """What is to be compiled."""
        return list(self._source.kernels.values())

    def code(self) -> tuple[Run, str]:
        """Return the program as a function of its inputs, compiled, and its source."""
        from metagrad.replay.machine import function_of

        if self.buffers.nbytes > _MOST_BYTES:
            raise MemoryError(f"its buffers would take {self.buffers.nbytes >> 20} MiB")
        source, text = self._source, self._text
        source.scope |= {name: function_of(kernel) for name, kernel in source.kernels.items()}
        chains = [f"# {name}\n{kernel}".replace("\n", "\n# ") for name, kernel in source.kernels.items()]
        return defined(source, text), "\n".join([text, *chains])


class _Source(Source):
    """The lines of a program with chains."""

    def __init__(self, buffers: Buffers, calls: dict[int, Cheap]) -> None:
        """Begin with no line."""
        super().__init__(buffers)
        self._calls = calls
        self.kernels: dict[str, Kernel] = {}

    def chain(self, unit: Unit, watched: set[int]) -> set[int]:
        """Add the call of a chain, which returns whether it saw a NaN; return where it looks for one."""
        chain = lowered(unit, self._calls, watched, self._standing(unit))
        arguments = [self.bind(chain.table, "t"), *map(self.name, chain.operands), *map(self._new, chain.written)]
        name = f"chain{len(self.kernels)}"
        self.kernels[name] = chain.kernel
        call = f"{name}({', '.join(arguments)})"
        self.lines.append(f"if {call}: return None" if chain.kernel.looks else call)
        for room, values in chain.rooms:
            self._take_numbers(room, values)
        return chain.looked

    def _standing(self, unit: Unit) -> dict[int, Any]:
        """Return the arrays that a chain reads and writes and that stay where they are."""
        for v in unit.stored:
            if v.number in self._buffers.arrays:
                self._arrays[v.number] = buffer = self._buffers.arrays[v.number]
                self._names[v.number] = self.bind(buffer, "b")
        known = [x for v in unit.values for x in (v, *v.operands())]
        static = {x.number: self._arrays[x.number] for x in known if x.number in self._arrays}
        static |= {x.number: x.example for x in known if x.is_constant and type(x.example) is np.ndarray}
        for array in static.values():
            self.bind(array, "b")  # it lives as long as the program, which knows its address
        return static

    def _take_numbers(self, room: Any, values: list[Value]) -> None:
        """Let the numbers that a chain has left in an array be those values."""
        name = self.bind(room, "n")
        for i, v in enumerate(values):
            if type(v.example) is np.ndarray:  # one without axes
                self._arrays[v.number] = view = room[i : i + 1].reshape(())
                self._names[v.number] = self.bind(view, "b")
            else:
                self._names[v.number] = f"v{v.number}"
                self.lines.append(f"v{v.number} = {name}[{i}]")

    def _new(self, v: Value) -> str:
        """Return the name of a new array to write into."""
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
        self._recipe = recipe
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
    from metagrad.replay.whole_table import NotWhole

    machine, agree = (sys.modules.get(f"metagrad.replay.{name}") for name in ("machine", "agree"))
    if machine is None or agree is None:
        return False
    calls = [found for v in recipe.calls if (found := cheap(v)) is not None]
    if not agree.are_known({operation for call in calls for operation in agree.operations_of(call)}):
        return False
    try:
        return recipe.whole().whole in sys.modules["metagrad.replay.whole_code"].FUNCTIONS
    except (NotWhole, KeyError):
        return all(kernel in machine.FUNCTIONS for kernel in Plan(recipe).kernels)


def _switched(recipe: Recipe, inputs: Sequence[Any], expected: Tree) -> Switched:
    """Return the compiled program where it gives the same bits, else why there is none."""
    from metagrad.replay.machine import why_not

    missing = why_not()
    if missing is not None:
        return Switched(None, missing)
    if not all(v.example.flags.aligned for call in recipe.calls for v in call.operands() if _is_known_array(v)):
        return Switched(None, "data lie at odd addresses, which NumPy reads in another order")
    try:
        return _as_a_whole(recipe, inputs, expected) or _in_chains(recipe, inputs, expected)
    except Exception as error:  # of a compiler: whatever it is, NumPy's program is there
        return Switched(None, f"compiling it failed ({type(error).__name__}: {error})".splitlines()[0][:200])


def _is_known_array(v: Value) -> bool:
    return v.is_constant and type(v.example) is np.ndarray


def _as_a_whole(recipe: Recipe, inputs: Sequence[Any], expected: Tree) -> Switched | None:
    """Return the program as one function; None where it cannot be one, or has other bits."""
    from metagrad.replay.whole_program import WholeProgram
    from metagrad.replay.whole_table import NotWhole

    try:
        whole = WholeProgram(recipe.whole(), recipe.tree)
        found = whole(*inputs)
    except NotWhole:
        return None
    if not same_bits(found, expected, any_nan=True):
        return None
    if recipe.of_code is not None:
        recipe.of_code.share(whole)
    return Switched(whole, "")


def _in_chains(recipe: Recipe, inputs: Sequence[Any], expected: Tree) -> Switched:
    """Return the program with its chains compiled."""
    plan = Plan(recipe)
    if plan.joined < _FEWEST:
        return Switched(None, "it has few calls to join")
    run, source = plan.code()
    found = run(*inputs)
    if not same_bits(found, expected, any_nan=True):
        return Switched(None, "compiled, it gives other bits than NumPy")
    return Switched(run, source)
