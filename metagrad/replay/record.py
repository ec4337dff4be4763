"""From a function to its program: recorded once with examples, then run through the passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.arena import Arena
from metagrad.replay.asked import when_compiled
from metagrad.replay.compiled import Later, Recipe, Switched
from metagrad.replay.dead import needed
from metagrad.replay.functions import itself
from metagrad.replay.numpy_code import Run
from metagrad.replay.program import PLAIN, Graph, NotReplayable, Value
from metagrad.replay.schedule import scheduled
from metagrad.replay.simplify import simplified
from metagrad.replay.traced import RECORDING, Traced
from metagrad.replay.whole_program import WholeProgram

_MOST_BYTES = 1 << 26  # of buffers


class Program:
    """What a function computed, to be run on other inputs of the same shapes, dtypes and layout in memory."""

    def __init__(
        self,
        part: Part,
        *,
        keeping: Sequence[Value] = (),
        given: Sequence[Value] = (),
        arena: Arena | None = None,
    ) -> None:
        """Take a part of a recording through the passes.

        `keeping`: values that are returned beside the outputs, (outputs, (kept, ...)). `given`: values that are inputs,
        after the others, in the place of what computes them. `arena`: the memory of its buffers.
        """
        self._arena = Arena() if arena is None else arena
        # No large result of the recording is held from here on.
        self._recipe = recipe_of(part, keeping=keeping, given=given, arena=self._arena).light()
        self._numpy: Run | None
        with self._arena.lock:
            self._numpy, self.source, nbytes = self._recipe.by_numpy()
        if nbytes > _MOST_BYTES:
            raise NotReplayable(f"its buffers would take {nbytes >> 20} MiB")
        self.calls = sum(v.function is not None for v in self._recipe.calls)
        self._compiled: Run | None = None
        self.why_not_compiled: str | None = None
        self._later: Later | None = Later(self._recipe)

    @property
    def is_compiled(self) -> bool:
        """Whether chains of its calls are compiled."""
        return self._compiled is not None

    @property
    def whole(self) -> WholeProgram | None:
        """The program as one function of machine code, where it is, and is asked for."""
        found = self._compiled
        return found if type(found) is WholeProgram and when_compiled() != "never" else None

    @property
    def lock(self) -> Any:
        """Who runs it holds this: its buffers are one run's."""
        return self._arena.lock

    def __call__(self, inputs: Sequence[Any]) -> Tree | None:
        """Return the outputs, arrays of their own, as a tree; None where the program does not apply to these inputs."""
        with self._arena.lock:  # the buffers are one run's
            when = when_compiled()
            if when != "never":
                if self._compiled is not None:
                    return self._compiled(*inputs)
                if self._later is not None:
                    found, switched = self._later.run(self._run, inputs, at_once=when == "at once")
                    if switched is not None:
                        self._settle(switched)
                    return found
            return self._run(*inputs)

    def _run(self, *inputs: Any) -> Tree | None:
        """Return what NumPy's program gives."""
        if self._numpy is None:
            self._numpy = self._recipe.by_numpy()[0]
        return self._numpy(*inputs)

    def _settle(self, switched: Switched) -> None:
        self._later = None
        if switched.run is None:
            self.why_not_compiled = switched.text
        else:
            self._compiled, self.source = switched.run, switched.text
            self._numpy = None  # with its buffers; it is made again where somebody asks for it


class Part(NamedTuple):
    """What one of the functions of a recording gave."""

    outputs: list[Value]
    tree: Tree  # of the outputs
    inputs: list[Value]
    guards: list[tuple[Value, bool]]
    watched: list[Value]
    values: list[Value]


def recipe_of(
    part: Part, *, keeping: Sequence[Value] = (), given: Sequence[Value] = (), arena: Arena | None = None
) -> Recipe:
    """Return what the passes leave of a part of a recording; the others as of `Program`."""
    outputs, tree = [*part.outputs, *keeping], (part.tree, (0.0,) * len(keeping)) if keeping else part.tree
    guards, watched = [v for v, _ in part.guards], part.watched
    values = needed(part.values, [*outputs, *guards, *watched], given)
    instead = simplified(values)
    outputs, guards, watched = ([instead[v.number] for v in vs] for vs in (outputs, guards, watched))
    values = scheduled(needed(values, [*outputs, *guards, *watched], given), guards)
    expected = [(v, e) for v, (_, e) in zip(guards, part.guards, strict=True)]
    calls = [v for v in values if v not in given]
    return Recipe([*part.inputs, *given], calls, outputs, tree, expected, watched, arena)


class Recording:
    """Functions of the same arguments, recorded one after the other: what they have in common is one value."""

    def __init__(self, trees: Sequence[Tree], *, of_device: bool = False) -> None:
        """Take the leaves of the arguments for inputs, one tree after the other.

        `of_device`: they stand for arrays of a device.
        """
        self._graph = Graph(of_device=of_device)
        self._traced = [ad.tree_map(lambda x: _input(self._graph, x), tree) for tree in trees]

    def of(self, function: Callable[..., Tree], count: int) -> Part:
        """Return what function(first, ...) of so many of the arguments gives.

        NotReplayable where it looks at numbers, or calls what cannot be recorded.
        """
        graph, traced = self._graph, self._traced[:count]
        guards, watched = len(graph.guards), len(graph.watched)
        token = RECORDING.set(graph)
        try:
            found = function(*traced)
        except NotReplayable as why:
            raise NotReplayable(graph.refused or str(why)) from None
        except Exception as error:
            raise NotReplayable(graph.refused or f"recording it failed: {_line(error)}") from error
        finally:
            RECORDING.reset(token)
        if graph.refused is not None:
            raise NotReplayable(graph.refused)
        outputs = [_output(graph, x) for x in ad.leaves(found)]
        inputs = [x.value for tree in traced for x in ad.leaves(tree)]
        tree = ad.tree_map(lambda _: 0.0, found)  # what was recorded would be held by its leaves
        return Part(outputs, tree, inputs, graph.guards[guards:], graph.watched[watched:], graph.values)


def recorded(
    function: Callable[..., Tree], trees: Sequence[Tree], made: Callable[[Part], Any] = Program, **how: Any
) -> Any:
    """Return the program of function(*trees); its inputs are the leaves, one tree after the other."""
    return made(Recording(trees, **how).of(function, len(trees)))


def _input(graph: Graph, x: Any) -> Traced:
    is_known = type(x) is np.ndarray or isinstance(x, np.generic)
    if not (is_known and x.dtype.kind in "fiub" and x.dtype != np.float16) and type(x) not in PLAIN:
        raise NotReplayable(f"a {_kind(x)} among what a step is given")
    return Traced(graph, graph.input(x))


def _output(graph: Graph, x: Any) -> Value:
    if type(x) is Traced:
        example = x.value.example
        if type(example) is np.ndarray and np.empty_like(example).strides != example.strides:
            raise NotReplayable("a result with gaps in memory")
        return x.value
    if type(x) is np.ndarray:
        return graph.constant(x)
    if isinstance(x, np.generic) or type(x) in PLAIN:
        return graph.call(itself, (x,), {})
    raise NotReplayable(f"a step that returns a {_kind(x)}")


def _kind(x: Any) -> str:
    return f"{x.dtype} array" if isinstance(x, np.ndarray) else type(x).__name__


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
