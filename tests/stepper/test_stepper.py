"""A loop of one's own takes the steps of the engine, bit by bit, whatever its parameters are."""

import copy
import re
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad, optimizers
from metagrad.unroll.rollout import rollout

STEPS = 6
LSTM, MLP31 = mg.CoordinatewiseLSTM(hidden=(4, 3)), mg.MLP31(hidden=5, scale=0.05, exponent_scale=0.1)
CHAIN = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.Momentum())
NOISY = mg.Chain(mg.GradientNoise(), mg.ClipByValue(), rule=mg.Adam())
COSINE = mg.Following(mg.Momentum(), eta=mg.WarmUp(mg.Cosine()))
POLYNOMIAL, EXPONENTIAL = (mg.Following(mg.Adam(), eta=x) for x in (mg.Polynomial(), mg.Exponential()))
GROUPED = mg.Grouped({"a": mg.Momentum(), "b": mg.Adam()}, lambda path: "a" if path.endswith(("'W']", ".W")) else "b")
FREE = mg.Unconstrained(mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01))
RULES = {
    "GradientDescent": (mg.GradientDescent(), 0.2),
    "Momentum": (mg.Momentum(), mg.Momentum.Phi(0.1, 0.6)),
    "Nesterov": (mg.Nesterov(), mg.Nesterov.Phi(0.1, 0.6)),
    "RMSprop": (mg.RMSprop(), mg.RMSprop.Phi(0.05, 0.8, 0.01)),
    "RMSprop of TensorFlow": (mg.RMSprop("tensorflow"), mg.RMSprop.Phi(0.05, 0.8, 0.01)),
    "Adagrad": (mg.Adagrad(), mg.Adagrad.Phi(0.1, 0.01)),
    "Adam": (mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01)),
    "SGDW": (mg.SGDW(), mg.SGDW.Phi(0.1, 0.6, 0.2)),
    "AdamW": (mg.AdamW(), mg.AdamW.Phi(0.05, 0.8, 0.95, 0.01, 0.2)),
    "NAdam": (mg.NAdam(), mg.NAdam.Phi(0.05, 0.8, 0.95, 0.01)),
    "Adan": (mg.Adan(), mg.Adan.Phi(0.1, 0.5, 0.7, 0.9, 0.01, 0.2)),
    "Lion": (mg.Lion(), mg.Lion.Phi(0.02, 0.7, 0.8, 0.3)),
    "CoordinatewiseLSTM": (LSTM, LSTM.init_meta(np.random.default_rng(0))),
    "MLP31": (MLP31, MLP31.init_meta(np.random.default_rng(0))),
    "Chain of ClipByNorm and WeightDecay": (CHAIN, CHAIN.Phi(0.8, 0.02, 0.2, 0.6)),
    "Chain of GradientNoise and ClipByValue": (NOISY, NOISY.Phi(0.1, 0.3, 0.05, 0.8, 0.95, 0.01)),
    "Following WarmUp and Cosine": (COSINE, COSINE.Phi(2.5, 0.2, 0.05, 0.6)),
    "Following Polynomial": (POLYNOMIAL, POLYNOMIAL.Phi(0.1, 0.01, 1.5, 0.8, 0.95, 0.01)),
    "Following Exponential": (EXPONENTIAL, EXPONENTIAL.Phi(0.1, 0.9, 0.8, 0.95, 0.01)),
    "Scheduled": (mg.Scheduled(mg.GradientDescent()), mg.GradientDescent.Phi(np.linspace(0.1, 0.3, STEPS))),
    "Masked": (mg.Masked(mg.Momentum(), True), mg.Momentum.Phi(0.1, 0.6)),
    "Until the gradient is small": (mg.Until(mg.Adam(), 1.5), mg.Adam.Phi(0.3, 0.8, 0.95, 0.01)),
    "Until the loss is small": (mg.Until(mg.Adam(), 0.9, of="loss"), mg.Adam.Phi(0.3, 0.8, 0.95, 0.01)),
    "Unconstrained": (FREE, FREE.init_meta(np.random.default_rng(0))),
}


class Layer(NamedTuple):
    W: np.ndarray
    b: np.ndarray


draw = np.random.default_rng(1)
PARAMS = {
    "one array": draw.standard_normal(4),
    "a matrix": draw.standard_normal((3, 2)),
    "a row": draw.standard_normal((1, 3)),
    "a dict": {"W": draw.standard_normal((3, 2)), "b": draw.standard_normal(2), "s": np.asarray(0.7)},
    "NamedTuples": [Layer(draw.standard_normal((2, 3)), draw.standard_normal(3)), Layer(np.ones((3, 1)), np.ones(1))],
    "a scalar in a tuple": (draw.standard_normal((2, 2, 2)), np.asarray(-1.3)),
}
BOTH_GROUPS = ("a dict", "NamedTuples")


def loss_of(w):  # (B, ...) -> (B,)
    total = 0.0
    for k, leaf in enumerate(ad.leaves(w)):
        flat = leaf.reshape((leaf.shape[0], -1))
        weights = np.linspace(0.5, 2.0, flat.shape[1]).astype(flat.dtype)
        total = total + np.sum(weights * (flat - (k - 0.5)) ** 2 + 0.1 * np.cos(3.0 * flat), axis=-1)
    return total


def with_task(params):
    return ad.tree_map(lambda x: np.asarray(x)[None], params)


def loss(params):
    return loss_of(with_task(params))[0]


def gradient(params):
    return ad.tree_map(lambda x: np.array(x[0]), ad.grad(loss_of)(with_task(params)))


def in_dtype(tree, dtype):
    return ad.tree_map(lambda x: x.astype(dtype) if hasattr(x, "dtype") else x, tree)


def same_bits(a, b):
    return ad.paths(a) == ad.paths(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(ad.leaves(a), ad.leaves(b), strict=True)
    )


def stepped(stepper, params, count=STEPS):
    for _ in range(count):
        params = stepper.update(params, gradient(params), loss=loss(params))
    return params


def pairs():
    for kind in PARAMS:
        for name in RULES:
            yield kind, name
        if kind in BOTH_GROUPS:
            yield kind, "Grouped"


def rule_of(name):
    if name == "Grouped":
        return GROUPED, {"a": mg.Momentum.Phi(0.1, 0.6), "b": mg.Adam.Phi(0.05)}
    return RULES[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "name"), list(pairs()))
def test_the_bits_of_a_rollout(kind, name, dtype):
    (rule, phi), params = rule_of(name), in_dtype(PARAMS[kind], dtype)
    task = mg.FunctionTask(loss_of, with_task(params))
    _, end = rollout(task, rule, in_dtype(phi, dtype), steps=STEPS, with_end=True)
    stepper = mg.Stepper(rule, phi, steps=STEPS)
    found = stepped(stepper, params)
    assert same_bits(found, ad.tree_map(lambda x: np.asarray(x[0]), end.w))
    assert same_bits(ad.tree_map(np.asarray, stepper._state), ad.tree_map(np.asarray, end.state))
    assert not same_bits(found, params)


def test_every_rule_of_the_project_is_among_them():
    text = " ".join([*RULES, "Grouped", "Stopped"])
    assert not {name for name in optimizers._PLACES if name not in text}


@pytest.mark.parametrize("name", ["lstm_quadratics", "lstm_digits"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_trained_optimizers(name, dtype):
    trained = mg.load_trained(name)
    params = in_dtype(PARAMS["a dict"], dtype)
    task = mg.FunctionTask(loss_of, with_task(params))
    _, end = rollout(task, trained.optimizer, in_dtype(trained.phi, dtype), steps=20, with_end=True)
    assert same_bits(stepped(mg.Stepper(trained), params, 20), ad.tree_map(lambda x: np.asarray(x[0]), end.w))


def test_a_matrix_is_one_set_of_parameters_and_no_batch():
    """The features of MLP31 are normalised over a tensor: rows that are taken for tasks give other numbers."""
    params = PARAMS["a matrix"]
    rule, phi = RULES["MLP31"]
    found = mg.Stepper(rule, phi).update(params, gradient(params))
    as_batch, _ = rule.step(phi, rule.init(phi, params), params, mg.FixedGradient(gradient(params)))
    assert found.shape == as_batch.shape
    assert not np.allclose(found - params, as_batch - params, rtol=1e-3)


def test_stopped_asks_elsewhere_and_is_given_a_function():
    direction = np.array([0.6, 0.8, 0.0, 0.0])
    rule, params = mg.Stopped(mg.GradientDescent(), 1.5, direction), np.array([1.0, -0.2, 0.3, 0.1])
    task = mg.FunctionTask(lambda w: -np.sum(w * w, axis=-1), params[None])
    _, end = rollout(task, rule, 0.2, steps=STEPS, with_end=True)
    stepper, now, leaves = mg.Stepper(rule, 0.2), params, mg.Stepper(rule, 5.0)
    for _ in range(STEPS):
        now = stepper.update(now, lambda w: -2.0 * w)
    assert same_bits(now, end.w[0])
    with pytest.raises(TypeError, match=r"Stepper\.update: grads is .* at other parameters; expected a function"):
        leaves.update(params, -2.0 * params)


def test_functions_are_asked_at_the_parameters_of_the_loop():
    asked = []

    def grads(params):
        asked.append(params)
        return params

    params = {"W": np.ones((2, 3))}
    mg.Stepper(mg.GradientDescent(), 0.1).update(params, grads)
    assert len(asked) == 1
    assert asked[0]["W"].shape == (2, 3)


# -- whose the arrays are


def strange_arrays():
    base = np.random.default_rng(2).standard_normal((6, 8))
    read_only = base[:3, :2].copy()
    read_only.flags.writeable = False
    return {
        "not contiguous": base[::2, ::4],
        "Fortran": np.asfortranarray(base[:3, :2]),
        "backwards": base[2::-1, 1::-1],
        "read-only": read_only,
        "a view": base.reshape(-1)[:6].reshape(3, 2),
        "broadcast": np.broadcast_to(base[0, :2], (3, 2)),
        "of another byte order": base[:3, :2].astype(">f8"),
    }


@pytest.mark.parametrize("kind", strange_arrays())
@pytest.mark.parametrize("name", ["Adam", "MLP31", "CoordinatewiseLSTM"])
def test_arrays_of_any_layout(kind, name):
    array = strange_arrays()[kind]
    plain = np.array(array, dtype=float, order="C")
    found = mg.Stepper(*RULES[name]).update({"x": array}, {"x": array})
    expected = mg.Stepper(*RULES[name]).update({"x": plain}, {"x": plain})
    assert same_bits(found, expected)
    assert found["x"].dtype == np.float64


@pytest.mark.parametrize("name", [*RULES])
def test_nothing_that_is_given_is_kept_or_written(name):
    rule, phi = RULES[name]
    params = in_dtype(PARAMS["a dict"], "float64")
    plain, careless = mg.Stepper(rule, phi, steps=STEPS), mg.Stepper(rule, phi, steps=STEPS)
    expected, mine = stepped(plain, params), ad.tree_map(np.copy, params)
    for _ in range(STEPS):
        g, before = gradient(mine), ad.tree_map(np.copy, mine)
        new = careless.update(mine, g, loss=loss(mine))
        assert same_bits(mine, before)
        for old, one, slope in zip(ad.leaves(mine), ad.leaves(new), ad.leaves(g), strict=True):
            assert one.flags.writeable
            assert one.flags.owndata
            old[...] = one  # the loop writes into its own arrays, also into those that were returned
            one[...] = slope[...] = np.nan
    assert same_bits(mine, expected)


def test_numbers_of_numpy_stay_numbers():
    params = (np.float32(1.5), np.ones(2, np.float32))
    found = mg.Stepper(mg.Adam(), mg.Adam.Phi(0.1)).update(params, (np.float32(0.3), np.ones(2, np.float32)))
    assert isinstance(found[0], np.float32)
    assert type(found[1]) is np.ndarray
    assert isinstance(mg.Stepper(mg.GradientDescent(), 0.1).update(np.asarray(1.0), np.asarray(2.0)), np.ndarray)


def test_none_stands_for_nothing():
    params = {"W": np.ones(2), "b": None}
    found = mg.Stepper(mg.GradientDescent(), 0.5).update(params, {"W": np.ones(2), "b": None})
    assert found["b"] is None
    assert found["W"].tolist() == [0.5, 0.5]


def test_keys_in_any_order():
    stepper = mg.Stepper(mg.Momentum(), mg.Momentum.Phi(0.1, 0.5))
    a = stepper.update({"x": np.ones(2), "y": np.zeros(1)}, {"y": np.zeros(1), "x": np.ones(2)})
    b = stepper.update({"y": a["y"], "x": a["x"]}, {"x": np.ones(2), "y": np.zeros(1)})
    np.testing.assert_allclose(b["x"], 1 - 0.1 - 0.15)


def test_float16_is_computed_in_float16():
    params = in_dtype(PARAMS["a dict"], "float16")
    task = mg.FunctionTask(loss_of, with_task(params))
    rule, phi = RULES["Momentum"]
    _, end = rollout(task, rule, phi, steps=STEPS, with_end=True)
    assert same_bits(stepped(mg.Stepper(rule, phi), params), ad.tree_map(lambda x: np.asarray(x[0]), end.w))


@pytest.mark.parametrize(
    ("rule", "phi", "dtype", "expected"),
    [
        (
            mg.Adam(),
            mg.Adam.Phi(0.05),
            "float16",
            r"phi\.eps is 1e-08, which is 0 in float16; expected 0, or a size of at least 6e-08",
        ),
        (mg.Adam(), mg.Adam.Phi(0.05, eps=1e-50), "float32", r"phi\.eps is 1e-50, which is 0 in float32"),
        (mg.GradientDescent(), 1e-9, "float16", r"phi\S* is 1e-09, which is 0 in float16"),
        (mg.GradientDescent(), np.asarray(1e-9), "float16", r"phi\S* is 1e-09, which is 0 in float16"),
        (
            mg.GradientDescent(),
            np.array([0.2, 0.1, 1e-9]),
            "float16",
            r"phi\S* is 1e-09 in an entry, which is 0 in float16",
        ),
    ],
)
def test_a_meta_parameter_that_would_be_0(rule, phi, dtype, expected):
    """It would be another rule: Adam without eps divides 0 by 0."""
    params = np.ones(3, dtype=dtype)
    stepper = mg.Stepper(rule, phi)
    with pytest.raises(ValueError, match=rf"^Stepper\.update: {expected}.*wider dtype"):
        stepper.update(params, params)
    assert stepper.t == 0
    assert stepper.update(params.astype("float64"), np.ones(3)).dtype == np.float64


def test_a_meta_parameter_of_0_and_the_least_ones():
    params = np.ones(3, dtype="float16")
    for beta in (0.0, np.zeros(3), np.array([0.0, 6e-8, 0.5]), 4e-8):
        assert mg.Stepper(mg.Momentum(), mg.Momentum.Phi(0.1, beta)).update(params, params).dtype == np.float16


def test_an_answer_of_the_rule():
    class Averaging:
        def init(self, phi, w):
            return {"mean": w}

        def step(self, phi, state, w, f):
            w = w - phi["eta"] * f.gradient(w)
            return w, {"mean": 0.5 * state["mean"] + 0.5 * w}

        def answer(self, phi, state, w):
            return state["mean"]

    stepper, params = mg.Stepper(Averaging(), {"eta": 0.5}), np.array([4.0, 2.0])
    assert stepper.answer(params).tolist() == [4.0, 2.0]
    params = stepper.update(params, params)
    assert params.tolist() == [2.0, 1.0]
    assert stepper.answer(params).tolist() == [3.0, 1.5]
    plain = mg.Stepper(mg.GradientDescent(), 0.5)
    assert plain.answer(params).tolist() == params.tolist()
    assert plain.answer(params) is not params


# -- what is refused


def errors():
    """Return calls, and what their errors say."""
    ok, gd = np.ones(2), (mg.GradientDescent(), 0.1)
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16

    def update(params, grads, rule=gd, **more):
        return lambda: mg.Stepper(*rule).update(params, grads, **more)

    nan = np.array([1.0, np.nan])
    tree = {"W": np.ones((2, 2)), "b": ok}
    loss_needed = (mg.Until(mg.GradientDescent(), 0.1, of="loss"), 0.1)
    return {
        "no rule": (lambda: mg.Stepper(3.0, 0.1), "Stepper: rule is .*expected"),
        "a name": (lambda: mg.Stepper("lstm_digits"), r"Write Stepper\(load_trained\('lstm_digits'\)\)"),
        "no phi": (lambda: mg.Stepper(mg.GradientDescent()), "Stepper: phi is None; expected the meta-parameters"),
        "phi twice": (lambda: mg.Stepper(mg.load_trained("lstm_digits"), 0.1), "phi is given beside a Trained"),
        "phi of both": (lambda: mg.Stepper(gd[0], mg.Joint(0.1, 1.0)), r"phi is a Joint.*Stepper\(rule, phi\.rule\)"),
        "phi out of range": (lambda: mg.Stepper(gd[0], -0.1), "eta is -0.1"),
        "phi of a batch": (
            update(ok, ok, (gd[0], np.full((3, 1), 0.1))),
            r"eta is of shape \(3, 1\); expected one number",
        ),
        "no schedule": (lambda: mg.Stepper(*RULES["Scheduled"]), "steps is None, and Scheduled has meta-parameters"),
        "another schedule": (lambda: mg.Stepper(*RULES["Scheduled"], steps=7), "7 entries"),
        "steps": (lambda: mg.Stepper(*gd, steps=0), "Stepper: steps is 0; expected an integer of at least 1"),
        "a list of numbers": (update([1.0, 2.0], [1.0, 2.0]), r"params\[0\] is 1\.0, a float; .*np\.asarray"),
        "integers": (update(np.arange(3), ok), "params is an array of int64; expected an array of a float dtype"),
        "complex": (update(ok + 1j, ok), "params is an array of complex128"),
        "bfloat16": (update(ok.astype(bfloat16), ok), "params is an array of bfloat16"),
        "objects": (update(ok.astype(object), ok), "params is an array of object"),
        "masked": (update(np.ma.masked_array(ok, [0, 1]), ok), "params is a MaskedArray; expected a plain array"),
        "nothing": (update({}, {}), r"params is \{\}, without arrays"),
        "None": (update(None, None), "params is None, without arrays"),
        "a text": (update("W", "W"), "params is 'W', a str"),
        "size 0": (
            update({"W": ok, "b": np.ones(0)}, tree),
            r"params\['b'\] is of shape \(0,\); expected at least one",
        ),
        "two dtypes": (
            update({"W": ok, "b": ok.astype("float32")}, tree),
            r"params\['b'\] is of float32 while params\['W'\] is of float64; expected one dtype",
        ),
        "another key": (update(tree, {"W": tree["W"], "c": ok}), r"grads is a dict with the keys 'W', 'c'; expected"),
        "another tree": (
            update(tree, [tree["W"], ok]),
            r"grads is a list of 2; expected a dict with .* Give both the same structure\.",
        ),
        "no tree": (update(tree, ok), "grads is a ndarray; expected a dict"),
        "a task axis": (
            update(ok, ok[None]),
            r"grads is of shape \(1, 2\); expected shape \(2,\).*without a task axis",
        ),
        "a batch": (update(ok, np.ones((4, 2))), r"grads is of shape \(4, 2\)"),
        "too few": (update(tree, {"W": ok, "b": ok}), r"grads\['W'\] is of shape \(2,\); expected shape \(2, 2\)"),
        "a number": (update(ok, 1.0), "grads is 1.0, a float"),
        "another dtype": (
            update(ok, ok.astype("float32")),
            "grads is an array of float32; expected float64, the dtype",
        ),
        "no gradient": (update(tree, {"W": tree["W"], "b": None}), r"grads\['b'\] is None; .*Write zeros"),
        "none at all": (update(ok, None), r"grads is None; expected an array of shape \(2,\)"),
        "NaN in grads": (
            update({"a": ok, "b": ok}, {"a": ok, "b": nan}),
            r"grads\['b'\] is inf or NaN in at least one",
        ),
        "inf in grads": (update(ok, np.array([1.0, np.inf])), "grads is inf or NaN"),
        "NaN in params": (update(nan, ok), "params is inf or NaN in at least one entry"),
        "no loss": (
            update(ok, ok, loss_needed),
            r"loss is None; expected the loss, because the rule asks for it\. Write",
        ),
        "NaN loss": (update(ok, ok, loss=np.nan), "loss is nan; expected one finite number"),
        "inf loss": (update(ok, ok, loss=np.inf), "loss is inf; expected one finite number"),
        "losses": (update(ok, ok, loss=np.ones(3)), "loss is an array of shape .3,.; .*There is no task axis"),
        "one loss": (update(ok, ok, loss=np.ones(1)), r"loss is an array of shape \(1,\)"),
        "loss as text": (update(ok, ok, loss="0.5"), "loss is '0.5'; expected one finite number"),
        "loss as list": (update(ok, ok, loss=[0.5]), r"loss is \[0\.5\], a list"),
        "a huge loss": (update(ok, ok, loss=10**400), "loss is inf; expected one finite number"),
        "loss too large": (
            update(ok.astype("float16"), ok.astype("float16"), loss=1e6),
            "loss is 1000000.0, which float16 cannot hold",
        ),
        "phi too large": (
            update(ok.astype("float16"), ok.astype("float16"), (gd[0], np.asarray(1e6))),
            "phi is an array of float64 with a number that float16 cannot hold",
        ),
        "overflow": (
            update(1e308 * ok, -1e308 * ok, (gd[0], 10.0)),
            r"GradientDescent\.step: the new params is inf or",
        ),
    }


@pytest.mark.parametrize("name", errors())
def test_clear_errors(name):
    call, expected = errors()[name]
    with pytest.raises((TypeError, ValueError)) as found:
        call()
    assert re.search(expected, str(found.value)), str(found.value)
    assert re.search(r": .+ is .+; expected .+\.", str(found.value)), str(found.value)


class Ask:
    """A rule that asks for what a loop does not know."""

    def __init__(self, what):
        self.what = what

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return self.what(f, w), state


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda f, w: f.gradient(w + 1.0), "grads is the gradient at `params` alone"),
        (lambda f, w: f.gradient([w, w]), "grads is the gradient at `params` alone"),
        (lambda f, w: f(w + 1.0), "loss is a number; expected the loss at other parameters.*function of params"),
        (lambda f, w: f.ask("curvature", w), "task is a LoopTask, which does not tell 'curvature'"),
        (lambda f, w: ad.grad(f)(w), "differentiates it by itself|a number; expected the loss at other"),
        (lambda f, w: np.concatenate([w, w]), r"Ask\.step: the new w is of shape \(2, 2, 3\) and float64; expected"),
        (lambda f, w: w.astype("float32"), r"the new w is of shape \(1, 2, 3\) and float32; expected .* and float64"),
        (lambda f, w: [w], "the new w is a list of 1|a list in the place of a leaf"),
        (lambda f, w: 0.0, "the new w is a float"),
    ],
)
def test_a_rule_that_asks_for_more(what, expected):
    params = np.ones((2, 3))
    with pytest.raises((TypeError, ValueError), match=expected):
        mg.Stepper(Ask(what), {"eta": 0.1}).update(params, params, loss=1.0)


def test_a_rule_that_asks_at_the_same_numbers():
    params = np.ones((2, 3))
    found = mg.Stepper(Ask(lambda f, w: w - f(w * 1.0) * f.gradient(w + 0.0)), {"eta": 0.1}).update(
        params, 0.1 * params, loss=2.0
    )
    np.testing.assert_allclose(found, 0.8)


def test_a_horizon_that_a_schedule_needs():
    stepper, params = mg.Stepper(*RULES["Following WarmUp and Cosine"]), np.ones(2)
    with pytest.raises(TypeError, match=r"steps is None at t = \d; .*Stepper\(rule, phi, steps=T\)"):
        stepped(stepper, params)
    with pytest.raises(ValueError, match=r"t is 6; expected at most 6 updates"):
        stepped(mg.Stepper(*RULES["Scheduled"], steps=STEPS), params, STEPS + 1)


@pytest.mark.parametrize("name", ["Adam", "CoordinatewiseLSTM"])
def test_an_update_that_fails_changes_nothing(name):
    params = PARAMS["a dict"]
    plain, other = mg.Stepper(*RULES[name]), mg.Stepper(*RULES[name])
    expected, now = stepped(plain, params), params
    for _ in range(STEPS):
        with pytest.raises(ValueError, match="NaN"):
            other.update(now, ad.tree_map(lambda x: x * np.nan, now))
        now = stepped(other, now, 1)
    assert same_bits(now, expected)
    assert other.t == STEPS


def test_a_state_that_overflows_is_no_step():
    """In float32 the square of 1e20 is inf: such a rule would stand still from then on, and say nothing."""

    class Squares:
        def init(self, phi, w):
            return {"v": np.zeros_like(w)}

        def step(self, phi, state, w, f):
            g = f.gradient(w)
            v = state["v"] + g * g
            return w - phi["eta"] * g / np.sqrt(v), {"v": v}

    stepper, params = mg.Stepper(Squares(), {"eta": 0.1}), np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"Squares\.step: its state is inf or NaN in \['v'\] after update 1; expected"):
        stepper.update(params, 1e20 * params)
    assert stepper.t == 0


def test_a_state_that_begins_with_inf():
    class Least:
        def init(self, phi, w):
            return {"least": np.full_like(w, np.inf)}

        def step(self, phi, state, w, f):
            size = np.abs(f.gradient(w))
            return w - phi["eta"] * size, {
                "least": np.where(size > 1, np.minimum(state["least"], size), state["least"])
            }

    stepper = mg.Stepper(Least(), {"eta": 0.1})
    assert stepper.update(np.ones(2), np.array([0.5, 2.0])).tolist() == [0.95, 0.8]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"W": np.ones(3)}, r"params is with \['W'\] of shape \(3,\); expected shape \(2,\), as at the first update"),
        ({"b": np.ones(2)}, r"a tree with \['b'\]; expected a tree with \['W'\]"),
        ({"W": np.ones(2, np.float32)}, "of float32 in numpy; expected float64 in numpy"),
    ],
)
def test_one_stepper_for_one_set_of_parameters(second, expected):
    stepper = mg.Stepper(mg.Adam(), mg.Adam.Phi(0.1))
    stepper.update({"W": np.ones(2)}, {"W": np.ones(2)})
    with pytest.raises(ValueError, match=expected):
        stepper.update(second, second)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_a_copy_goes_on_by_itself(how):
    rule, params = RULES["Momentum"], PARAMS["a dict"]
    first = mg.Stepper(*rule)
    half = stepped(first, params, 2)
    second = how(first)
    end = stepped(second, half, 2)
    assert (first.t, second.t) == (2, 4)
    assert same_bits(stepped(first, half, 2), end)


def test_phi_is_that_of_the_beginning():
    eta = np.asarray(0.1)
    stepper = mg.Stepper(mg.GradientDescent(), mg.GradientDescent.Phi(eta))
    eta[...] = 5.0
    assert stepper.update(np.ones(1), np.ones(1)).tolist() == [0.9]


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        (np.array([0.1, 0.2]), [[0.9, 0.8]] * 3),  # one a column, as beside (B, 3, 2)
        (np.full((3, 2), 0.5), [[0.5, 0.5]] * 3),
        ({"x": 0.5}, [[0.5, 0.5]] * 3),
    ],
)
def test_a_step_size_a_coordinate_or_a_layer(eta, expected):
    params = {"x": np.ones((3, 2))}
    found = mg.Stepper(mg.GradientDescent(), mg.GradientDescent.Phi(eta)).update(params, params)
    np.testing.assert_allclose(found["x"], expected)


@pytest.mark.parametrize("name", [*RULES])
def test_one_number(name):
    rule, phi = RULES[name]
    alone, in_tree = mg.Stepper(rule, phi, steps=STEPS), mg.Stepper(rule, phi, steps=STEPS)
    found = alone.update(np.asarray(0.5), np.asarray(0.3), loss=2.0)
    assert found.shape == ()
    assert found == in_tree.update([np.asarray(0.5)], [np.asarray(0.3)], loss=2.0)[0]


def test_what_is_written_about_it():
    stepper = mg.Stepper(mg.GradientDescent(), 0.1, steps=10)
    stepper.update(np.ones(2), np.ones(2))
    assert repr(stepper) == "Stepper(GradientDescent(), 1 of 10 updates)"
