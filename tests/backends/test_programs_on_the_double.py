"""Programs on a device: the bits of the tape there, no wait inside of a run, and graphs where they may be."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.protocols import Joint
from metagrad.replay import replayed
from metagrad.replay.device_program import DeviceProgram
from metagrad.replay.program import NotReplayable
from metagrad.replay.record import Recording, recipe_of
from metagrad.xp import move, to_host
from tests.cupy_double import cuda, double
from tests.cupy_double.double import SYNCS, DoubleArray

cp = double.NAMESPACE
B, N, D = 2, 5, 3
DRAW = np.random.default_rng(4)
GLOBAL_X = cp.asarray(DRAW.standard_normal((B, N, D)))


class Nesterov:
    """A rule in a user's code, with a counter and a branch on it."""

    class Phi(NamedTuple):
        eta: object
        beta: object

    def init(self, phi, w):
        return ad.tree_map(lambda leaf: leaf * 0.0, w), 0

    def step(self, phi, state, w, f):
        moved, count = state
        gradient, rate = f.gradient(w), 1.0 if count % 3 else 0.5
        moved = ad.tree_map(lambda m, g: phi.beta * m + g, moved, gradient)
        return ad.tree_map(lambda x, m: x - rate * phi.eta * m / (1.0 + 0.1 * count), w, moved), (moved, count + 1)


def logistic(seed=0, dtype=np.float64):
    draw = np.random.default_rng(seed)
    x = cp.asarray(draw.standard_normal((B, N, D)).astype(dtype))
    y = cp.asarray(np.sign(draw.standard_normal((B, N))).astype(dtype))

    def loss(w):
        z = y * np.einsum("bni,bi->bn", x, w)
        return np.mean(np.maximum(-z, 0.0) + np.log1p(np.exp(-np.abs(z))), axis=-1)

    return loss, cp.asarray(0.1 * draw.standard_normal((B, D)).astype(dtype)), x, y


def regression(seed=0, dtype=np.float64):
    loss, w0, *_ = logistic(seed, dtype)
    return mg.FunctionTask(loss, w0)


def of_a_global(seed=0, dtype=np.float64):
    _, w0, *_ = logistic(seed)
    return mg.FunctionTask(lambda w: np.sum((GLOBAL_X @ w[..., None])[..., 0] ** 2, axis=-1) * 0.1, w0)


def labelled(seed=0, dtype=np.float64):
    _, _, x, _ = logistic(seed, dtype)
    y = cp.asarray(np.random.default_rng(seed).integers(0, 4, (B, N)))

    def loss(w):
        z = np.einsum("bni,bic->bnc", x, w["weights"]) + w["bias"][:, None, :]
        z = z - np.max(z, axis=-1, keepdims=True)
        picked = np.take_along_axis(z, y[..., None], axis=-1)[..., 0]
        return np.mean(np.log(np.sum(np.exp(z), axis=-1)) - picked, axis=-1)

    start = {"weights": cp.zeros((B, D, 4), dtype), "bias": cp.zeros((B, 4), dtype)}
    return mg.FunctionTask(loss, start)


def on_minibatches(seed=0, dtype=np.float64):
    _, w0, x, y = logistic(seed, dtype)

    def loss(w, sample):
        features, targets = sample
        return np.mean((np.einsum("bni,bi->bn", features, w) - targets) ** 2, axis=-1)

    def sampler(draw, t):
        chosen = draw.integers(0, N, 3)
        return x[:, chosen], y[:, chosen]

    return mg.FunctionTask(loss, w0, sampler=sampler)


def decayed(seed=0, dtype=np.float64):
    loss, w0, *_ = logistic(seed, dtype)

    def with_decay(w, theta):
        return loss(w) + np.exp(theta) * np.sum(w * w, axis=-1)

    return mg.FunctionTask(with_decay, w0, theta=cp.asarray(np.array(-3.0, dtype)))


TASKS = [regression, of_a_global, labelled, on_minibatches, decayed]
RULES = [
    (mg.GradientDescent(), mg.GradientDescent.Phi(0.1)),
    (mg.Adam(), mg.Adam.Phi(0.05)),
    (Nesterov(), Nesterov.Phi(0.1, 0.5)),
]


def bits(estimate):
    grads = [] if estimate.grad is None else ad.leaves(estimate.grad)
    arrays = [x for one in (estimate.value, *grads) for x in (one.mantissa, one.exponent)]
    arrays += [estimate.status, estimate.status_step, *(x for x in tuple(estimate.digits) if hasattr(x, "dtype"))]
    return [to_host(x).tobytes() for x in arrays]


def same_both_ways(ask, way="at once", calls=3):
    """Return what each call said, all of them with the bits of the tape."""
    with replayed(False):
        expected = bits(ask())
    said = []
    for _ in range(calls):
        with replayed(compiled=way):
            found = ask()
        assert bits(found) == expected
        said.append(found.replay)
    return said


@pytest.mark.parametrize("rule", RULES, ids=lambda x: type(x[0]).__name__)
@pytest.mark.parametrize("make", TASKS, ids=lambda x: x.__name__)
def test_the_bits_are_the_tapes(make, rule):
    (rule, phi), seed = rule, (TASKS.index(make) + RULES.index(rule)) % 2
    task = make(seed)
    phi = Joint(rule=phi, task=cp.asarray(-3.0)) if make is decayed else phi
    said = same_both_ways(lambda: mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=9))
    # A counter that a branch looks at: where it goes the other way the tape takes the step.
    assert said[-1].startswith("12 of 18" if type(rule) is Nesterov else "18 of 18")
    assert "no CUDA graph" not in said[-1]


@pytest.mark.parametrize("way", ["never", "when it pays"])
@pytest.mark.parametrize("make", [labelled, on_minibatches], ids=lambda x: x.__name__)
def test_the_bits_without_graphs(make, way):
    task = make()
    same_both_ways(lambda: mg.meta_gradient(task, mg.Adam(), mg.WeightedSum(), mg.Adam.Phi(0.05), steps=9), way)


@pytest.mark.parametrize(
    "options",
    [
        *({"method": "forward"}, {"method": "windows", "window": 8}, {"scaling": "none"}),
        *({"gradient": "stop_gradient"}, {"record": True}, {"memory": 500}),
    ],
    ids=lambda x: "_".join(map(str, x.values())),
)
def test_every_way_to_ask(options):
    task, objective = regression(), mg.LogFinal() if "method" in options else mg.MeanLog()
    same_both_ways(lambda: mg.meta_gradient(task, mg.Adam(), objective, mg.Adam.Phi(0.05), steps=12, **options))


@pytest.mark.parametrize("make", TASKS, ids=lambda x: x.__name__)
def test_values(make):
    task, phi = make(), mg.GradientDescent.Phi(0.1)
    phi = Joint(rule=phi, task=cp.asarray(-3.0)) if make is decayed else phi
    same_both_ways(lambda: mg.value(task, mg.GradientDescent(), mg.WeightedSum(), phi, steps=12))


@pytest.mark.parametrize("make", TASKS, ids=lambda x: x.__name__)
def test_in_single_precision(make):
    if make is of_a_global:
        pytest.skip("its data are double")
    task, phi = make(3, np.float32), mg.Adam.Phi(*(np.float32(x) for x in (0.05, 0.9, 0.99, 1e-6)))
    phi = Joint(rule=phi, task=cp.asarray(np.float32(-3.0))) if make is decayed else phi
    same_both_ways(lambda: mg.meta_gradient(task, mg.Adam(), mg.WeightedSum(), phi, steps=9))


@pytest.mark.parametrize("way", ["never", "at once"])
def test_tasks_of_one_code_share_programs(way, monkeypatch):
    made, original = [], DeviceProgram.__init__
    monkeypatch.setattr(DeviceProgram, "__init__", lambda self, *args: made.append(1) or original(self, *args))
    for seed in range(4):
        task = labelled(seed)
        same_both_ways(lambda: mg.meta_gradient(task, mg.Adam(), mg.WeightedSum(), mg.Adam.Phi(0.05), steps=9), way, 1)  # noqa: B023
    assert len(made) == 4  # a step, its pullback, what is measured, and its gradient


def test_data_that_change_in_place_are_seen():
    loss, w0, x, _ = logistic()
    task = mg.FunctionTask(loss, w0)
    for k in range(5):
        same_both_ways(lambda: mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.1, steps=9), calls=2)
        x[0, k] = x[0, k] * 1.5
    for k in range(3):
        same_both_ways(lambda: mg.meta_gradient(of_a_global(), mg.GradientDescent(), mg.Final(), 0.1, steps=9))
        GLOBAL_X[0, k] = GLOBAL_X[0, k] * 1.5


@pytest.mark.parametrize("rule", RULES[:2], ids=lambda x: type(x[0]).__name__)
def test_nobody_waits_inside_of_a_run(rule):
    task, (rule, phi) = regression(), rule

    def syncs(steps):
        before = SYNCS.count
        mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=steps)
        return SYNCS.count - before

    with replayed(compiled="at once"):
        for steps in [8, 16] * 9:
            mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=steps)
        assert syncs(8) == syncs(16)


def test_a_graph_is_one_launch(monkeypatch):
    task, launches, original = regression(), [], cuda.Graph.launch
    monkeypatch.setattr(cuda.Graph, "launch", lambda self, stream=None: launches.append(1) or original(self, stream))
    with replayed(compiled="at once"):
        for _ in range(5):
            mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=30)
        launches.clear()
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=30)
    assert 60 <= len(launches) <= 64  # steps, pullbacks, what is measured at the end


def test_a_nan_is_left_to_the_tape():
    w0 = cp.asarray(np.full((B, D), 0.3))
    task = mg.FunctionTask(lambda w: np.sum(np.sqrt(w), axis=-1), w0)
    said = same_both_ways(lambda: mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.05, steps=20))
    assert said[-1] == "Every step was taken by the tape. There is a NaN where the tape looks for one."


def test_what_cannot_be_captured_is_called(monkeypatch):
    task = mg.FunctionTask(lambda w: np.sum(np.cumsum(w**2, axis=-1) ** 2, axis=-1), cp.asarray(np.ones((B, D))))
    said = same_both_ways(lambda: mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.01, steps=9))
    assert said[-1] == (
        "18 of 18 steps, forwards and backwards, were replayed. They are no CUDA graph: cumsum is not captured."
    )

    def fails(self, mode=None):
        raise cuda.CUDARuntimeError("cudaErrorStreamCaptureUnsupported: why")

    monkeypatch.setattr(cuda.Stream, "begin_capture", fails)
    task = regression(7)
    said = same_both_ways(lambda: mg.meta_gradient(task, Nesterov(), mg.LogFinal(), Nesterov.Phi(0.1, 0.3), steps=11))
    assert "no CUDA graph: capturing it failed (CUDARuntimeError: cudaErrorStreamCaptureUnsupported: why)" in said[-1]


def test_a_graph_that_gives_other_bits_is_no_graph(monkeypatch):
    original = cuda.Graph.launch

    def launch(self, stream=None):
        original(self, stream)
        for _, found in self._launches:
            if isinstance(found, np.ndarray) and found.dtype.kind == "f" and found.flags.writeable:
                np.multiply(found, 1.0 + 1e-12, out=found)

    monkeypatch.setattr(cuda.Graph, "launch", launch)
    task = regression(8)
    said = same_both_ways(lambda: mg.meta_gradient(task, Nesterov(), mg.MeanLog(), Nesterov.Phi(0.1, 0.3), steps=11))
    assert any("as one launch it gives other bits" in one for one in said)


def test_code_that_is_no_function_of_its_arguments_is_the_tapes():
    calls = []

    def loss(w):
        calls.append(1)
        return np.sum(w**2, axis=-1) * (1.0 + 1e-3 * len(calls))

    task = mg.FunctionTask(loss, cp.asarray(np.ones((B, D))))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.05, steps=20)
    assert found.replay is None or found.replay.startswith("Every step was taken by the tape.")


def program(function, *inputs):
    recording = Recording([to_host(x) if isinstance(x, DoubleArray) else x for x in inputs], of_device=True)
    return DeviceProgram(recipe_of(recording.of(function, len(inputs))), cp)


def test_numbers_of_the_time_are_given_to_every_launch():
    x = cp.asarray(DRAW.standard_normal((3, 4)))

    def function(t, x):
        return np.where(x > 0.1 * t, x * 0.9 ** (t + 1), x / (t + 2.0)), t + 1

    made = program(function, 3, x)
    with replayed(compiled="at once"):
        for t in (3, 4, 10, 3):
            found, after = made([t, x])
            assert np.array_equal(found.get(), function(t, x.get())[0])
            assert after == t + 1
    assert made.is_captured


def test_a_branch_on_the_time_that_goes_another_way_does_not_apply():
    made = program(lambda t, x: x * 2.0 if t > 2 else x, 3, cp.asarray(np.ones(2)))
    assert made([1, cp.asarray(np.ones(2))]) is None
    assert made([5, cp.asarray(np.ones(2))]).get().tolist() == [2.0, 2.0]


def test_results_stay_what_they_are():
    x = cp.asarray(np.arange(4.0))
    made = program(lambda x: (x + 1.0, x), x)
    with replayed(compiled="at once"):
        first = [made([x]), made([x])]
        kept = [y.get() for found in first for y in found]
        made([x * 10.0])
    assert all(np.array_equal(a, b.get()) for a, b in zip(kept, [y for found in first for y in found], strict=True))
    assert np.array_equal(x.get(), np.arange(4.0))


def test_what_the_array_module_lacks_is_not_replayed():
    with pytest.raises(NotReplayable, match="cupy_double has no vecdot"):
        program(lambda x: np.vecdot(x, x), cp.asarray(np.arange(4.0)))


def test_gradients_for_the_kernel_of_the_lstm():
    task, rule = regression(), mg.CoordinatewiseLSTM((4,))
    phi = move(rule.init_meta(np.random.default_rng(0)), cp)
    said = same_both_ways(lambda: mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=9))
    assert said[-1].startswith("18 of 18 steps")


def test_what_fails_on_the_device_is_not_replayed():
    x = cp.asarray(np.arange(4.0))
    made = program(lambda x: x * 2.0, x)
    right = made._run

    def fails(*given):
        raise RuntimeError("no such kernel")

    made._run = fails
    with pytest.raises(NotReplayable, match=r"it fails on the device \(RuntimeError: no such kernel\)"):
        made([x])
    made._run = right
    assert made([x]).get().tolist() == [0.0, 2.0, 4.0, 6.0]
    made._run = fails
    with pytest.raises(RuntimeError, match="no such kernel"):  # later it is no matter of what the module can do
        made([x])


def _same(found, expected):
    return all(np.array_equal(a.get(), b.get()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("way", ["never", "at once"])
def test_a_number_of_the_time_that_changes_its_type_does_not_apply(way):
    """2 ** t is an integer, and below 0 it is none: an integer of the graph would be another number."""
    counts = cp.asarray(np.arange(4))

    def function(t, x):
        return counts * 2 ** (3 - t) + x, np.where(counts > 2, counts, 2 ** (3 - t)) * x

    x = cp.asarray(DRAW.standard_normal(4))
    made = program(function, 1, x)
    with replayed(compiled=way):
        for t in (1, 2, 5, 1):
            found = made([t, x])
            assert (found is None) is (t > 3)
            assert found is None or _same(found, function(t, x))


def test_numbers_of_the_time_keep_their_sign():
    x = cp.asarray(np.ones(3))
    made = program(
        lambda t, x: np.arctan2(0.0 * x, (t - 2) * -0.0 + 0.0 * x - 0.0) + np.copysign(x, (2 - t) * 0.0), 5, x
    )
    with replayed(compiled="never"):
        expected = made([5, x]).get()
    with replayed(compiled="at once"):
        assert all(np.array_equal(made([5, x]).get(), expected) for _ in range(3))
    assert made.is_captured
    assert np.signbit(expected).all()


def test_an_index_of_the_host_is_not_captured():
    made = program(lambda x: np.take(x, [0, 2], axis=-1) * 2.0, cp.asarray(np.ones((2, 3))))
    assert made.why_no_graph == "an index is not captured that the host copies to the device"


def test_powers_are_the_powers_of_the_device():
    made = program(lambda x: x**2 + x**0.5, cp.asarray(np.ones(3)))
    assert "** 2" in made.source
    assert "** 0.5" in made.source or "** k" in made.source


def test_a_launch_that_fails_is_made_up_for_by_calls(monkeypatch):
    x = cp.asarray(np.arange(4.0))
    made = program(lambda x: x * 2.0, x)
    with replayed(compiled="at once"):
        made([x])
        assert made.is_captured

        def fails(self, stream=None):
            raise cuda.CUDARuntimeError("cudaErrorMemoryAllocation")

        monkeypatch.setattr(cuda.Graph, "launch", fails)
        assert made([x]).get().tolist() == [0.0, 2.0, 4.0, 6.0]
    assert not made.is_captured
    assert made.why_no_graph == "launching it failed (CUDARuntimeError)"


def test_a_global_in_a_linear_term():
    task = mg.FunctionTask(lambda w: np.sum(GLOBAL_X[:, 0] * w, axis=-1) + np.sum(w**2, axis=-1), logistic()[1])
    said = same_both_ways(lambda: mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.05, steps=9))
    assert said[-1] == "18 of 18 steps, forwards and backwards, were replayed."


def test_a_counter_of_numpys_is_among_the_inputs():
    class Counting:
        def init(self, phi, w):
            return np.int64(0)

        def step(self, phi, state, w, f):
            return w - phi * f.gradient(w) / (1.0 + 0.1 * state), state + 1

    task = regression(5)
    said = same_both_ways(lambda: mg.meta_gradient(task, Counting(), mg.Final(), cp.asarray(0.1), steps=9))
    assert "no CUDA graph: a number of NumPy's is among its inputs" in said[-1]
    assert said[-1].startswith("18 of 18")


@pytest.mark.parametrize("seed", range(4))
def test_what_is_measured_of_a_task_with_meta_parameters_is_the_tapes(seed):
    task, phi = decayed(seed), Joint(rule=mg.GradientDescent.Phi(0.3), task=cp.asarray(-2.0))
    same_both_ways(lambda: mg.value(task, mg.GradientDescent(), mg.MeanLog(), phi, steps=16), calls=2)
