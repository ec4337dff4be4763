"""A function of trees that is recorded when it is called first, compared with itself, and replayed from then on.

It is called with plain arrays, too: that is the tape's own answer, and a program has to give its bits, where it was
recorded, at a point beside it, and wherever `check` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.arena import Arena
from metagrad.replay.asked import by_numpy
from metagrad.replay.bits import same_bits
from metagrad.replay.dead import dropped_errors
from metagrad.replay.device_program import DeviceProgram
from metagrad.replay.keep import kept as worth_keeping
from metagrad.replay.program import PLAIN, NotReplayable
from metagrad.replay.record import Part, Program, Recording, recipe_of, recorded
from metagrad.replay.stretches import Spare
from metagrad.xp import Namespace, device_of, like, rng, to_host

_MOST_LAYOUTS = 4
_RUNS_LOOKED_AT, _EVERY = 4, 8
_EVERY_READ = 64  # of code that can be read through, of which all that it depends on is looked at before every run
LONG = 100  # steps, from which on a run is looked at in between, too
Trees = Sequence[Tree]


class Routine:
    """The programs of one function, by the shapes, dtypes and layouts of what it is given."""

    def __init__(self, what: str, arena: Arena | None = None, xp: Namespace = np) -> None:
        """`what` it computes, for reasons, with arrays of `xp`; `arena`: the memory of its buffers."""
        self.what, self._xp, self.arena = what, xp, Arena() if arena is None else arena
        self.why_not: str | None = None
        self._programs: dict[Any, Program] = {}
        self._latest: tuple[Any, Program] | None = None

    @property
    def why_not_compiled(self) -> str | None:
        """Why a program stays NumPy's that was to be compiled."""
        return next((p.why_not_compiled for p in self._programs.values() if p.why_not_compiled is not None), None)

    @property
    def why_no_graph(self) -> str | None:
        """Why a program on a device is not one launch."""
        return next((why for p in self._programs.values() if (why := getattr(p, "why_no_graph", None))), None)

    @property
    def nbytes(self) -> int:
        """The memory of the buffers."""
        return self.arena.nbytes

    @property
    def has_programs(self) -> bool:
        """Whether anything is recorded."""
        return bool(self._programs)

    def knows(self, trees: Trees) -> bool:
        """Whether there is a program for such inputs."""
        return layout(trees, leaves_of(trees)) in self._programs

    def run(self, trees: Trees) -> Tree | None:
        """Return what the program gives, None where there is none that applies."""
        flat = leaves_of(trees)
        program = self.program(layout(trees, flat))
        try:
            return None if program is None else applied(program, flat)
        except NotReplayable as why:  # the first run, on a device
            self.forget(f"{self.what}: {why}")

    def program(self, key: Any) -> Program | None:
        """Return the program for inputs of a `layout`, None where there is none."""
        latest = self._latest
        if latest is not None and latest[0] == key:
            return latest[1]
        found = self._programs.get(key)
        if found is not None:
            self._latest = key, found
        return found

    @property
    def latest(self) -> Program | None:
        """The program that was asked for last."""
        return None if self._latest is None else self._latest[1]

    def beginning_with(self, key: Any) -> Program | None:
        """Return a program whose first inputs have a `layout`, the latest one if that has, None where there is none."""
        leaves, structures = key

        def begins(other: Any) -> bool:
            return bool(other[0][: len(leaves)] == leaves and other[1][: len(structures)] == structures)

        known = [*self._programs.items(), *([] if self._latest is None else [self._latest])]
        return next((program for other, program in reversed(known) if begins(other)), None)

    def learn(self, function: Callable[..., Tree], trees: Trees, beside: Trees | None = None) -> None:
        """Record function(*trees), and compare; NotReplayable where that cannot be done or the bits are others."""
        self.make_room()
        try:
            program = recorded(function, on_host(trees), self.made, of_device=self._xp is not np)
        except NotReplayable as why:
            self.forget(f"{self.what}: {why}")
        self.adopt(program, trees)
        with by_numpy():
            self.check(function(*trees), trees)
            if beside is not None and self.knows(beside):
                self.check(self.tried(function, beside), beside)

    def made(self, part: Part, **more: Any) -> Any:
        """Return the program of what was recorded, for the arrays that it is to be run on."""
        if self._xp is np:
            return Program(part, arena=self.arena, **more)
        return DeviceProgram(recipe_of(part, **more), self._xp)

    def tried(self, function: Callable[..., Tree], beside: Trees) -> Tree:
        """Return function(*beside); give up where it cannot be taken there: those numbers are nobody's."""
        try:
            return function(*beside)
        except Exception as error:
            self.forget(f"{self.what}: it fails beside the numbers that it was given ({type(error).__name__})")

    def make_room(self) -> None:
        """Raise NotReplayable where nothing can be recorded, or more than enough has been."""
        if self.why_not is not None:
            raise NotReplayable(self.why_not)
        if len(self._programs) >= _MOST_LAYOUTS:
            self.forget(f"{self.what}: its arrays come in more than {_MOST_LAYOUTS} shapes and layouts")

    def adopt(self, program: Program, trees: Trees) -> None:
        """Take a program for such inputs."""
        self._programs[layout(trees, leaves_of(trees))] = program

    def check(self, expected: Tree, trees: Trees) -> bool:
        """Raise NotReplayable unless the program gives the bits that the tape gave; tell whether it applied."""
        found = self.run(trees)
        if found is not None and not same_bits(found, expected):
            self.differs()
        return found is not None

    def differs(self) -> NoReturn:
        """Give up: the program gave other bits than the tape."""
        self.forget(f"{self.what}: the same calls give other numbers than the tape")

    def forget(self, why: str) -> NoReturn:
        """Drop all programs, for good, and raise NotReplayable."""
        self.why_not = why
        self._programs.clear()
        self._latest = None
        raise NotReplayable(why)


class Routines:
    """The programs of a function and of its pullback: of a step, or of what is measured."""

    def __init__(self, what: str = "the step", xp: Namespace = np) -> None:
        """Start with nothing recorded; `what` they compute, with arrays of `xp`, is named in reasons."""
        self._what, self._xp = what, xp
        self.asked = 0  # how often they were asked for
        self.spare = Spare()
        self._held: dict[str, Any] | None = None
        self.is_unsure = False  # whether there is more that it holds than was looked at
        self.is_shared = False  # by tasks of a kind: one other bit than the tape's is the end of it, for good
        self._signature: Any = None  # of code that can be read through: all that its numbers depend on
        self.begin_anew()

    def depend_on(self, looked: Any) -> None:
        """Drop what was recorded where what task, rule and measure hold is no longer what it was."""
        if self._signature is not None:
            if looked.signature == self._signature:
                return
            self._signature = None  # each run is compared from here on, unless all begins anew
        kept = looked.kept
        if self._held != kept.seen:
            if self._held is not None:
                self.begin_anew()
            self._signature = looked.signature
        # What is seen, not the parts: a task would live for ever.
        self._held, self.is_unsure = kept.seen, kept.is_cut

    @property
    def _turn(self) -> int | None:
        """Which one it is of the runs that are compared with the tape on the way back; None where it is not."""
        run = self.asked
        if self._signature is None:
            if run <= _RUNS_LOOKED_AT:
                return run
            return None if run % _EVERY else run // _EVERY
        if run & (run - 1) == 0:  # 1, 2, 4, 8, ...
            return run.bit_length()
        return None if run % _EVERY_READ else run // _EVERY_READ

    @property
    def is_trusted(self) -> bool:
        """Whether a run need not be compared: of code that can be read through, recorded and compared before."""
        return self.are_recorded and self._signature is not None and self._turn is None

    def looks(self, times: list[int]) -> list[int]:
        """Return at which of the times a run compares its pullbacks with the tape.

        At all of them where it records; later at one, in turn; and after some runs not in every run.
        """
        if not self.are_recorded or self.is_unsure:
            return times
        turn = self._turn
        return [] if turn is None else [times[turn % len(times)]]

    def drop(self, why: str) -> None:
        """Drop what has other bits than the tape: to be recorded anew, but for what is shared."""
        self.begin_anew()
        self.step.why_not = why if self.is_shared else None

    def begin_anew(self) -> None:
        """Drop what was recorded: the task is no longer what it was."""
        what, pullback, xp = self._what, f"the pullback of {self._what}", self._xp
        there, back = Arena(), Arena()  # one run forwards and one backwards may be taken at the same time
        self.step, self.pull = Routine(what, there, xp), Routine(pullback, back, xp)
        self.keeping, self.given = Routine(what, there, xp), Routine(pullback, back, xp)
        self.push, self.along = (Routine(f"the tangent of {what}", xp=xp) for _ in range(2))
        # Whole runs that were laid out for these programs (`metagrad.unroll.quiet`), and kinds of runs that cannot be.
        self.runs, self.not_laid_out = list[Any](), list[Any]()

    def learn(
        self,
        step: Callable[..., Tree],
        pull: Callable[..., Tree],
        value: Callable[..., Tree],
        trees: Trees,
        made: Tree,
        beside: Trees,
    ) -> None:
        """Record step(*trees) and pull(*trees, made), and the two with what the first keeps for the second.

        The keeping one gives value(*trees), too. `made`: the adjoint, and what stands beside it. They are compared
        there and, but for what is made, `beside`.
        NotReplayable where that cannot be done.
        """
        whole = (*trees, made)
        self.step.make_room()
        try:
            recording = Recording(on_host(whole), of_device=self._xp is not np)
            of_step, of_pull = recording.of(step, len(trees)), recording.of(pull, len(whole))
            both = _joined(of_step, recording.of(value, len(trees)))
            ends = (v for part in (both, of_pull) for v in (*part.outputs, *part.watched, *(g for g, _ in part.guards)))
            if dropped_errors(of_pull.values, ends):
                raise NotReplayable("a function of linear algebra is called, and its result is not used")
            self.step.adopt(self.step.made(of_step), trees)
            self.pull.adopt(self.pull.made(of_pull), whole)
            if self._xp is np:  # elsewhere memory is short, and time what it takes to launch
                worth = worth_keeping(of_pull.values, both.outputs, of_pull.outputs)
                found = tuple([v.example for v in worth])
                both = both if worth else both._replace(tree=(both.tree, ()))
                self.keeping.adopt(self.keeping.made(both, keeping=worth), trees)
                self.given.adopt(self.given.made(of_pull, given=worth), (*whole, found))
        except NotReplayable as why:
            self.step.forget(f"{self._what}: {why}")
        with by_numpy():
            self._check((step(*trees), value(*trees)), pull(*trees, made), trees, made)
            g = moved(made, 7)
            if self.step.knows(beside):
                found = self.step.tried(lambda *at: (step(*at), value(*at), pull(*at, g)), beside)
                self._check(found[:2], found[2], beside, g)

    def _check(self, stepped: Tree, pulled: Tree, trees: Trees, made: Tree) -> None:
        """Raise NotReplayable unless the programs give what the tape gave."""
        self.step.check(stepped[0], trees)
        self.pull.check(pulled, (*trees, made))
        found = self.keeping.run(trees)
        if found is not None:
            if not same_bits(found[0], stepped):
                self.step.differs()
            self.given.check(pulled, (*trees, made, found[1]))

    @property
    def why_not_compiled(self) -> str | None:
        """Why a program stays NumPy's that was to be compiled."""
        return next((x.why_not_compiled for x in self._all if x.why_not_compiled is not None), None)

    @property
    def why_no_graph(self) -> str | None:
        """Why a program on a device is not one launch, where one is not."""
        return next((x.why_no_graph for x in self._all if x.why_no_graph is not None), None)

    @property
    def nbytes(self) -> int:
        """The memory of all buffers."""
        arenas = {id(x.arena): x.arena for x in self._all}
        held = sum(arena.nbytes for arena in arenas.values())
        return held + sum(int(x.nbytes) for x in self.runs) + self.spare.nbytes

    @property
    def _all(self) -> tuple[Routine, ...]:
        return self.step, self.pull, self.keeping, self.given, self.push, self.along

    @property
    def are_recorded(self) -> bool:
        """Whether there are programs."""
        return self.step.has_programs

    @property
    def why_not(self) -> str | None:
        """Why there are none, where that is known."""
        return self.step.why_not or self.pull.why_not


def applied(program: Program, flat: list[Any]) -> Tree | None:
    """Return what a program gives, None where it does not apply."""
    try:
        return program(flat)
    except (ArithmeticError, ValueError, IndexError, TypeError):  # of Python's numbers: the tape deals with them
        return None


def _joined(a: Part, b: Part) -> Part:
    """Return both parts as one, whose tree is that of the pair."""
    guards, watched = [*a.guards, *b.guards], [*a.watched, *b.watched]
    return Part([*a.outputs, *b.outputs], (a.tree, b.tree), a.inputs, guards, watched, a.values)


def leaves_of(trees: Trees) -> list[Any]:
    """Return the leaves of some trees, one tree after the other."""
    found: list[Any] = []
    for tree in trees:
        if type(tree) is np.ndarray or type(tree) is int:  # the usual kinds, at once
            found.append(tree)
        elif tree is not None and (type(tree) is not tuple or tree):
            found += ad.leaves(tree)
    return found


def layout(trees: Trees, flat: list[Any]) -> Any:
    """Return what a program depends on in its inputs, beside their entries: structure, shapes, dtypes, places."""
    leaves = [(x.dtype, x.shape, x.strides) if type(x) is np.ndarray else _kind_of(x) for x in flat]
    return tuple(leaves), tuple([None if type(x) is np.ndarray else structure(x) for x in trees])


def _kind_of(x: Any) -> Any:
    if type(x) is int or device_of(x) is None:
        return type(x)
    return type(x), x.dtype, x.shape, x.strides, getattr(x.device, "id", 0)


def on_host(trees: Trees) -> Trees:
    """Return trees with arrays of the host in the place of those on a device: to record with."""
    return [ad.tree_map(lambda x: x if device_of(x) is None else to_host(x), tree) for tree in trees]


def laid(trees: Trees) -> tuple[Any, list[Any]]:
    """Return the layout of some trees, and their leaves."""
    flat = leaves_of(trees)
    return layout(trees, flat), flat


def structure(tree: Tree) -> Any:
    """Return the kinds of a tree's branches, with their keys, and which places hold nothing."""
    if isinstance(tree, dict):
        return type(tree), tuple([(key, structure(x)) for key, x in tree.items()])
    if isinstance(tree, tuple | list):
        return type(tree), tuple([structure(x) for x in tree])
    return tree is None


def moved(tree: Tree, seed: int) -> Tree:
    """Return a tree beside another one: floats a hundredth apart, of the same signs; Python's numbers as they are."""
    draw = rng(seed, "beside")

    def move(x: Any) -> Any:
        if type(x) in PLAIN or getattr(getattr(x, "dtype", None), "kind", "") != "f":
            return x
        if device_of(x) is not None:
            return like(x, move(to_host(x)))
        factor = np.asarray(1.0 - 0.01 * draw.random(x.shape)).astype(x.dtype)
        if not x.shape:
            return type(x)(x * factor) if isinstance(x, np.generic) else np.asarray(x * factor)
        away = np.empty_like(x)
        away[...] = x * factor
        return away

    return ad.tree_map(move, tree)
