"""Record once, replay: a user's own loss and rule as programs of NumPy's calls, with the bits of the tape.

traced        an array that records what is computed with it; `functions` lists what is recorded, `refused` what is not,
              `in_place` what `x += y` is
    bounds        what is known of signs, so that nothing has to be chosen entry by entry
program       the values of a program, each once, and what a branch on the time looked at
record        a function, its graph, and the passes:
    dead          what nothing needs is left out
    simplify      copies and spread operands
    schedule      guards first
    keep          what the step hands to its pullback
    buffers       where results are written, shared by those that live at different times
    numpy_code    one Python function of calls with out=
compiled      the program as machine code (Numba), when that pays
    cheap         which calls are exactly rounded; sums, of which the order is known
    agree         which have NumPy's bits on this machine
    chains        which calls become one function
    loops         a chain as loops, without sizes
    machine       loops as instructions; pairwise
    inner         NumPy's own inner loops, for exponentials and products; library, for powers of single numbers
    whole         a program as one function: whole_table, whole_calls, picks, whole_code, whole_program
routine       programs by shape and layout, compared with the tape
kept          what code keeps of its own, and `reached`: where it changes, nothing is replayed
closed        whether code can be read through, so that nothing else can change its numbers
step          a step of an unroll and its pullback, and what the latter computes beside it (adjoints)
many_steps    a stretch of steps: in one call (stretches, stack), or program by program (running); many_tangents beside
              them
whole_run     all steps of a run in two calls, in memory that stays
program_run   all steps of a short run, program by program
of_step       what programs of a step are recorded of
kept_steps    what steps leave for their pullbacks
terms         what the objective measures, and its gradient
apart         a task of a user's, its code and its data, and the task with other data
shared        kinds of tasks of one code, which share their programs
cache         programs are kept as long as their task, and while nothing that they hold changes
asked         whether steps are replayed, and when programs are compiled
"""

from metagrad.replay.adjoints import Sums, products, sums_of
from metagrad.replay.apart import Apart
from metagrad.replay.asked import is_asked, replayed
from metagrad.replay.bits import same_bits
from metagrad.replay.cache import alike, are_laid_out, has_programs, routines_of
from metagrad.replay.device_step import DeviceStep
from metagrad.replay.kept import Looked
from metagrad.replay.many_steps import Passed, ones_of
from metagrad.replay.many_tangents import Pushed
from metagrad.replay.of_step import OfStep, adjoint_like, slope_along
from metagrad.replay.program import NotReplayable
from metagrad.replay.program_run import ProgramRun
from metagrad.replay.routine import Routine, Routines, laid, moved
from metagrad.replay.seen import NanSeen, asked_at_the_end
from metagrad.replay.shared import Kind, LookedApart, kind_of
from metagrad.replay.stack import Stack
from metagrad.replay.step import ReplayStep, said
from metagrad.replay.stretches import Pulled
from metagrad.replay.terms import ReplayJointTerms, ReplayTerms
from metagrad.replay.traced import Traced
from metagrad.replay.whole_run import WholeRun

__all__ = [
    "Apart",
    "DeviceStep",
    "Kind",
    "Looked",
    "LookedApart",
    "NanSeen",
    "NotReplayable",
    "OfStep",
    "Passed",
    "ProgramRun",
    "Pulled",
    "Pushed",
    "ReplayJointTerms",
    "ReplayStep",
    "ReplayTerms",
    "Routine",
    "Routines",
    "Stack",
    "Sums",
    "Traced",
    "WholeRun",
    "adjoint_like",
    "alike",
    "are_laid_out",
    "asked_at_the_end",
    "has_programs",
    "is_asked",
    "kind_of",
    "laid",
    "moved",
    "ones_of",
    "products",
    "replayed",
    "routines_of",
    "said",
    "same_bits",
    "slope_along",
    "sums_of",
]
