"""Short runs from a learned start, of tasks that are new at each call: every call has the bits of the sweep."""

from dataclasses import dataclass

import numpy as np
import pytest

import metagrad as mg
from metagrad.replay import replayed
from metagrad.unroll import quiet_starts
from metagrad.unroll.on_data import told
from metagrad.xp import rng
from tests.threads import wrong_in_threads
from tests.unroll.starts import alike, everything, is_replayed, started

NETS = {
    "relu": mg.MLP((1, 7, 5, 1), "relu", 0.3),
    "tanh": mg.MLP((2, 6, 2), "tanh", "fan_in"),
    "one unit": mg.MLP((1, 1, 1), "sigmoid", "fan_in"),
    "linear": mg.MLP((2, 1), "relu", 0.5),
}
CLIPPED = mg.Chain(mg.ClipByNorm(), rule=mg.GradientDescent())
RULES = {
    "GD": (mg.GradientDescent(), mg.GradientDescent.Phi(0.05)),
    "Momentum": (mg.Momentum(), mg.Momentum.Phi(0.02, 0.9)),
    "Adam": (mg.Adam(), mg.Adam.Phi(0.01)),
    "clipped": (CLIPPED, CLIPPED.Phi(max_norm=0.5, eta=0.05)),
}
OBJECTIVES = [mg.Final("validation"), mg.Final(), mg.Final("squared_norm"), mg.Mean("validation"), mg.WeightedSum()]
GD, FINAL = mg.GradientDescent(), mg.Final("validation")


@pytest.fixture(autouse=True)
def _no_kinds(monkeypatch):
    monkeypatch.setattr(quiet_starts, "_KINDS", [])


def points(seed, n, p, q, count=3, dtype="float64", part=0):
    draw = rng(seed, "points", part)
    return tuple(draw.standard_normal((count, n, k)).astype(dtype) for k in (p, q))


def regression(seed, net="relu", count=3, dtype="float64", **more):
    p, q = NETS[net].sizes[0], NETS[net].sizes[-1]
    support, query = (points(seed, n, p, q, count, dtype, part) for part, n in enumerate((6, 4)))
    return mg.MLPRegressor(NETS[net], *support, query, **more)


@pytest.mark.parametrize(
    ("name", "when"), [*((name, "never") for name in RULES), ("GD", "at once"), ("clipped", "at once")], ids=str
)
@pytest.mark.parametrize(
    ("net", "objective", "steps", "dtype"),
    [
        ("relu", OBJECTIVES[0], 1, "float32"),
        ("tanh", OBJECTIVES[1], 2, "float64"),
        ("one unit", OBJECTIVES[2], 5, "float64"),
        ("linear", OBJECTIVES[3], 3, "float64"),
        ("relu", OBJECTIVES[4], 9, "float64"),
    ],
    ids=str,
)
def test_the_bits_of_the_tape(net, objective, steps, dtype, name, when):
    """New tasks, starts and step sizes at each call."""
    if when == "at once":
        pytest.importorskip("numba")
    rule, phi = RULES[name]
    with replayed(compiled=when):
        for seed in range(7):
            few, start = started(regression(seed, net, dtype=dtype), seed)
            given = mg.Joint(phi._replace(eta=phi.eta * (1 + 0.1 * seed)), start)
            found = alike(few, rule, objective, given, steps)
    assert is_replayed(found) or (name, dtype) == ("Adam", "float32")


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient": "stop_gradient"}, {"diverged": "skip"}, {"rescue": "never"}, {"rescue": "always"}],
    ids=str,
)
@pytest.mark.parametrize(("count", "starts"), [(1, 1), (4, 2), (6, 1)])
def test_counts_and_groups(count, starts, options):
    for seed in range(6):
        few, start = started(regression(seed, count=count), seed, starts)
        found = alike(few, GD, FINAL, mg.Joint(0.03, start), 2, **options)
    assert is_replayed(found)


def test_points_that_all_share():
    for seed in range(6):
        x, y = rng(seed, "x").standard_normal((5, 1)), rng(seed, "y").standard_normal((3, 5, 1))
        few, start = started(mg.MLPRegressor(NETS["relu"], x, y), seed)
        found = alike(few, GD, mg.Final("train"), mg.Joint(0.03, start), 2)
    assert is_replayed(found)


def test_data_that_change_in_place():
    task = regression(0)
    few, start = started(task)
    for seed in range(8):
        task.x[...] = rng(seed, "others").standard_normal(task.x.shape)
        task.validation[1][...] *= 1.5
        found = alike(few, GD, FINAL, mg.Joint(0.03, start), 3)
    assert is_replayed(found)


@pytest.mark.parametrize("what", [np.nan, np.inf, 0.0, 1e-320, 1e200], ids=str)
@pytest.mark.parametrize("where", ["x", "validation", "start", "eta"])
def test_what_is_to_be_said_is_said(where, what):
    """After usual calls comes one with numbers that leave the range, or lose their digits."""
    for seed in range(12):
        task = regression(seed)
        few, start = started(task, seed)
        eta = 0.03
        if seed in (5, 9):
            array = {"x": task.x, "validation": task.validation[0], "start": start[0]}.get(where)
            if array is None:
                eta = what
            else:
                array[..., 0] = what
        alike(few, GD, FINAL, mg.Joint(GD.Phi(eta), start), 2)


def test_exponents_that_differ_from_task_to_task_are_the_sweeps():
    for seed in range(5):
        few, start = started(regression(seed), seed)
        found = alike(few, GD, mg.LogFinal("validation"), mg.Joint(0.03, start), 2)
    assert not is_replayed(found)


@pytest.mark.parametrize(
    "options",
    [
        {"per_task": True},
        {"scaling": "none"},
        {"record": True},
        {"memory": "2 KiB"},
        {"fused": False},
    ],
    ids=str,
)
def test_other_options_are_the_sweeps(options):
    for seed in range(5):
        few, start = started(regression(seed), seed)
        if "per_task" in options:
            start = mg.ad.tree_map(lambda leaf: np.stack([leaf] * 3), start)
        phi = mg.Joint(np.full(3, 0.03) if "per_task" in options else 0.03, start)
        found = mg.meta_gradient(few, GD, FINAL, phi, steps=3, **options)
    assert not is_replayed(found)


def test_how_often_runs_are_compared(monkeypatch):
    seen = []
    same = quiet_starts._are_same
    monkeypatch.setattr(quiet_starts, "_are_same", lambda a, b: seen.append(1) or same(a, b))
    at = []
    for run in range(1, 134):
        few, start = started(regression(run), run)
        before = len(seen)
        mg.meta_gradient(few, GD, FINAL, mg.Joint(0.03, start), steps=1)
        at += [run - 3] * (len(seen) - before)
    assert at == [1, 2, 4, 8, 16, 32, 64, 128]


def test_one_other_bit_is_the_end_of_it(monkeypatch):
    """Programs that are not those of the tape are found out at the first call, and the answer is the tape's."""
    pulled = quiet_starts.RunFromStart._pulled_to_start
    monkeypatch.setattr(
        quiet_starts.RunFromStart,
        "_pulled_to_start",
        lambda self, phi, adjoint: mg.ad.tree_map(lambda x: x * 1.0000001, pulled(self, phi, adjoint)),
    )
    for seed in range(6):
        few, start = started(regression(seed), seed)
        found = alike(few, GD, FINAL, mg.Joint(0.03, start), 1)
        assert not is_replayed(found)
    (kind,) = quiet_starts._KINDS
    assert kind.programs is None
    assert not kind.is_to_be_recorded()


@dataclass(frozen=True)
class Slower(mg.GradientDescent):
    """A user's rule that inherits from ours."""

    def step(self, phi, state, w, f):
        asked = f.ask(lambda task, w, sample: task.w0, w)
        moved = mg.ad.tree_map(lambda x, g, s: x - 0.5 * phi.eta * g + 0.01 * (s - x), w, f.gradient(w), asked)
        return moved, state


class Near:
    """A measure of a user's that looks at the learned start itself."""

    name = "near"

    def of(self, task, w, sample):
        far = mg.ad.tree_map(lambda x, s: np.sum((x - 2 * s) ** 2, axis=tuple(range(1, x.ndim))), w, task.w0)
        return sum(mg.ad.leaves(far))

    def gradient(self, task, w, sample):
        return None

    def degree(self, task):
        return None


@pytest.mark.parametrize(("rule", "objective"), [(Slower(), FINAL), (GD, mg.Final(Near()))], ids=["rule", "measure"])
def test_code_of_a_users_that_looks_at_the_start(rule, objective):
    """Its steps, or what it measures, owe something to the start: the gradient has that share, too."""
    few, start = started(regression(0, "linear"))

    def value(start):
        found = mg.value(few, rule, objective, mg.Joint(mg.GradientDescent.Phi(0.03), start), steps=2)
        return found.value.to_float().mean()

    for _ in range(5):
        phi = mg.Joint(mg.GradientDescent.Phi(0.03), start)
        found = mg.meta_gradient(few, rule, objective, phi, steps=2)
    for leaf, slope in enumerate(found.grad.task):
        for place in np.ndindex(start[leaf].shape):
            near = [[x.copy() for x in start] for _ in range(2)]
            for sign, moved in zip((1, -1), near, strict=True):
                moved[leaf][place] += sign * 1e-5
            slow = (value(tuple(near[0])) - value(tuple(near[1]))) / 2e-5
            np.testing.assert_allclose(slope.to_float()[place], slow, rtol=1e-6, atol=1e-9)


class Louder(mg.MLPRegressor):
    """A user's task that inherits from ours."""

    def loss(self, w, sample):
        return 2 * super().loss(w, sample)

    gradient = None


def test_a_users_task_that_inherits():
    assert told(Louder(NETS["relu"], *points(0, 5, 1, 1))) is None
    for seed in range(5):
        few, start = started(Louder(NETS["relu"], *points(seed, 5, 1, 1)), seed)
        alike(few, GD, mg.Final(), mg.Joint(0.03, start), 2)


class Gained(mg.MLP):
    """A user's network, with a gain that is no setting."""

    gain = 1.0

    def layers(self, w, x):
        *first, last = super().layers(w, x)
        return [*first, self.gain * last]


def test_a_users_network_that_inherits():
    net = Gained((1, 3, 1), "tanh", "fan_in")
    for seed in range(8):
        object.__setattr__(net, "gain", 1.0 if seed < 6 else 1.5)
        task = mg.MLPRegressor(net, *points(seed, 5, 1, 1), points(seed, 4, 1, 1, part=1))
        few, start = started(task, seed)
        found = mg.value(few, GD, FINAL, mg.Joint(0.03, start), steps=1).value.to_float()
        assert told(task) is None
        if seed < 6:
            np.testing.assert_allclose(
                mg.Reverse()(few, GD, FINAL, mg.Joint(GD.Phi(0.03), start), steps=1).value.to_float(), found
            )


@pytest.mark.parametrize("turned", [np.s_[:, ::-1], np.s_[:, ::2]], ids=str)
def test_data_with_gaps_in_memory_are_the_sweeps(turned):
    """The tape takes copies of small constants, in which a product is summed in another order."""
    for seed in range(12):
        whole = (points(seed, 10, 2, 1, 1, "float32"), points(seed, 8, 2, 1, 1, "float32", part=1))
        support, query = (tuple(x[turned] for x in pair) for pair in whole)
        few, start = started(mg.MLPRegressor(mg.MLP((2, 2, 1), "tanh", "fan_in"), *support, query), seed)
        found = alike(few, GD, mg.Mean(), mg.Joint(GD.Phi(0.03), start), 2)
    assert not is_replayed(found)


def test_settings_that_may_change_in_place():
    """A mask is an array: who writes into it between two calls is told by the sweep."""
    mask = tuple(np.ones(shape, bool) for shape in NETS["relu"].shapes)
    rule = mg.Masked(GD, mask)
    assert quiet_starts.is_fixed(CLIPPED)
    assert not quiet_starts.is_fixed(rule)
    for seed in range(6):
        few, start = started(regression(seed), seed)
        mask[seed % 6][...] = False
        alike(few, rule, FINAL, mg.Joint(0.03, start), 2)


class AtTheStart(mg.WeightedSum):
    """Weights of a user's: that of the start is 3."""

    def weight(self, t, steps):
        return mg.Scaled.of(np.asarray(3.0)) if t == 0 else super().weight(t, steps)


@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_a_start_that_is_measured_itself(steps, method):
    """The term at time 0 owes something to a learned start, of tasks of ours as of a user's."""
    H, start = np.diag([1.0, 4.0]), np.array([0.3, -0.7])
    ours = mg.LearnedStart(mg.Quadratic(H, np.ones((3, 2))))
    theirs = mg.LearnedStart(mg.FunctionTask(lambda w: 0.5 * np.einsum("bi,ij,bj->b", w, H, w), w0=np.ones((3, 2))))
    powers = [np.linalg.matrix_power(np.eye(2) - 0.1 * H, t) for t in range(steps + 1)]
    expected = sum((3.0 if t == 0 else 1.0) * P @ H @ P @ start for t, P in enumerate(powers))
    for few in (ours, theirs):
        found = mg.meta_gradient(few, GD, AtTheStart(), mg.Joint(0.1, start), steps=steps, method=method)
        np.testing.assert_allclose(found.grad.task.to_float(), expected, rtol=1e-12)


def test_shapes_of_w_are_known_without_a_draw(monkeypatch):
    few, start = started(regression(0))
    monkeypatch.setattr(mg.MLP, "draw", None)
    for seed in range(5):
        fresh = mg.LearnedStart(regression(seed))
        mg.meta_gradient(fresh, GD, FINAL, mg.Joint(0.03, start), steps=1)
    with pytest.raises(ValueError, match="shape"):
        mg.meta_gradient(few, GD, FINAL, mg.Joint(0.03, (*start[:-1], np.zeros(3))), steps=1)


def test_starts_of_wrong_shapes_are_refused_when_programs_are_there():
    for seed in range(6):
        few, start = started(regression(seed), seed)
        mg.meta_gradient(few, GD, FINAL, mg.Joint(0.03, start), steps=1)
    for wrong in ((*start[:-1], np.zeros(3)), start[:-1], (*start[:-1], start[-1].astype(np.float32))):
        with pytest.raises((ValueError, TypeError), match=r"phi\.task"):
            mg.Reverse()(few, GD, FINAL, mg.Joint(GD.Phi(0.03), wrong), steps=1)
    with pytest.raises(TypeError, match="dtype"):
        mg.Reverse()(few, GD, FINAL, mg.Joint(GD.Phi(np.float32(0.03)), start), steps=1)


def test_few_kinds_are_kept():
    for steps in range(1, 20):
        few, start = started(regression(0))
        mg.meta_gradient(few, GD, FINAL, mg.Joint(0.03, start), steps=steps)
    assert len(quiet_starts._KINDS) <= 16


def test_kinds_that_come_and_go_are_recorded_later(monkeypatch):
    """More kinds in turn than are kept: they are not recorded again and again."""
    monkeypatch.setattr(quiet_starts, "_MOST_KINDS", 2)
    recorded, record = [], quiet_starts.RunFromStart._recorded
    monkeypatch.setattr(
        quiet_starts.RunFromStart, "_recorded", lambda self, where: recorded.append(1) or record(self, where)
    )
    for _ in range(5):
        for steps in (1, 2, 3):
            for seed in range(4):
                few, start = started(regression(seed), seed)
                alike(few, GD, FINAL, mg.Joint(0.03, start), steps)
    assert len(recorded) <= 6


def test_threads():
    """One kind, asked for by several threads at once."""

    def is_right(seed):
        few, start = started(regression(seed), seed)
        found = mg.meta_gradient(few, GD, FINAL, mg.Joint(0.03, start), steps=2)
        expected = mg.Reverse(fused=False)(few, GD, FINAL, mg.Joint(GD.Phi(0.03), start), steps=2)
        return everything(found) == everything(expected)

    assert not wrong_in_threads(is_right, each=12)
