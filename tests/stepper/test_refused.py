"""What a stepper refuses: with a clear error, and as if it had never been asked."""

import re

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from tests.stepper.loops import (
    PARAMS,
    RULES,
    STEPS,
    same_bits,
    stepped,
)


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
