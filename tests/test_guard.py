"""Code that writes into what it is given is told so by name, whichever door it comes through, and changes nothing."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.guard import frozen


class Phi(NamedTuple):
    eta: np.ndarray
    beta: np.ndarray


class Rule:
    """A heavy ball; `how` writes into one of its arguments."""

    def __init__(self, how):
        self.how = how

    def init(self, phi, w):
        if self.how == "init":
            w -= 1.0
        return np.zeros_like(w)

    def step(self, phi, v, w, f):
        g = f.gradient(w)
        if self.how == "velocity":
            v *= phi.beta
            v -= phi.eta * g
            return w + v, v
        v = phi.beta * v - phi.eta * g
        if self.how == "weights":
            w += v
            return w, v
        if self.how == "an entry":
            w[0] = 0.0
        if self.how == "phi":
            np.multiply(phi.eta, 2.0, out=phi.eta)
        return w + v, v

    def answer(self, phi, v, w):
        if self.how == "answer":
            w *= 2.0
        return w


def loss(w):
    return np.sum(np.cosh(w - 0.3), axis=-1)


def task_of(function=loss, w0=((1.0, -1.0), (0.5, 2.0)), **more):
    return mg.FunctionTask(function, w0=np.array(w0), **more)


PHI = Phi(np.asarray(0.05), np.asarray(0.6))
DOORS = {
    "reverse": lambda task, rule: mg.meta_gradient(task, rule, mg.Final(), PHI, steps=4),
    "forward": lambda task, rule: mg.meta_gradient(task, rule, mg.Final(), PHI, steps=4, method="forward"),
    "windows": lambda task, rule: mg.meta_gradient(task, rule, mg.Final(), PHI, steps=4, method="windows", window=2),
    "value": lambda task, rule: mg.value(task, rule, mg.Final(), PHI, steps=4),
    "rollout": lambda task, rule: mg.rollout(task, rule, PHI, steps=4),
    "training": lambda task, rule: mg.MetaTrainer(task, rule, mg.Final(), steps=4, scale=1e-3).run(PHI, 2),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("how", ["velocity", "weights", "an entry", "phi", "init", "answer"])
def test_a_rule_that_writes(door, how):
    task = task_of()
    member = how if how in ("init", "answer") else "step"
    text = rf"^Rule\.{member}: .* written into .*`w = w - target` for `w -= target`"
    if door == "forward" and how == "an entry":  # there the first step is taken traced, and traced arrays say it too
        text = r"^x\[index\] = value is not possible while x is traced.*np\.where"
    with pytest.raises((ValueError, TypeError), match=text):
        DOORS[door](task, Rule(how))
    assert task.w0.tolist() == [[1.0, -1.0], [0.5, 2.0]]
    assert (PHI.eta, PHI.beta) == (0.05, 0.6)
    DOORS[door](task, Rule("not at all"))


def test_a_loss_that_writes_does_not_change_its_start():
    def writes(w):
        w -= 0.3
        return np.sum(w * w, axis=-1)

    w0 = np.array([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"^FunctionTask\.function: .* written into"):
        mg.FunctionTask(writes, w0=w0)
    assert w0.tolist() == [[1.0, 2.0]]


class Own:
    """A task whose members write into w or the sample."""

    def __init__(self, how):
        self.how, self.data = how, np.ones((2, 3))

    def init(self, draw):
        return self.data

    def sample(self, draw, t):
        return self.data

    def loss(self, w, sample):
        if self.how == "loss":
            w *= 2.0
        if self.how == "sample":
            sample -= 1.0
        return np.sum((w - 2 * sample) ** 2, axis=-1)

    def gradient(self, w, sample):
        if self.how == "gradient":
            w -= 2 * sample
            return 2 * w
        return 2 * (w - 2 * sample)

    def validation_loss(self, w):
        if self.how == "validation_loss":
            w -= 1.0
        return np.sum(w * w, axis=-1)


@pytest.mark.parametrize("how", ["loss", "sample", "gradient", "validation_loss"])
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_a_task_that_writes(how, method):
    task, objective = Own(how), mg.Final("validation" if how == "validation_loss" else "loss")
    member = "loss" if how == "sample" else how
    with pytest.raises(ValueError, match=rf"^Own\.{member}: .* written into"):
        mg.meta_gradient(task, mg.GradientDescent(), objective, 0.1, steps=3, method=method)
    assert (task.data == 1).all()


def test_a_measure_of_ones_own_that_writes():
    def size(w):
        w *= w
        return np.sum(w, axis=-1)

    class Objective(mg.Final):
        @property
        def measure(self):
            return size

        @measure.setter
        def measure(self, given):
            pass

    with pytest.raises(ValueError, match=r"^size: .* written into"):
        mg.rollout(task_of(), mg.GradientDescent(), 0.1, steps=2, measure=size)


class OfDicts:
    """A state that is a dict, filled anew where it is: what the unroll keeps is another dict."""

    def __init__(self, in_place):
        self.in_place = in_place

    def init(self, phi, w):
        return {"v": np.zeros_like(w)}

    def step(self, phi, state, w, f):
        v = phi.beta * state["v"] - phi.eta * f.gradient(w)
        if not self.in_place:
            return w + v, {"v": v}
        state["v"] = v
        return w + v, state


@pytest.mark.parametrize("memory", [1 << 20, 256])
def test_a_dict_that_is_filled_anew_is_the_rules_own(memory):
    found = [mg.meta_gradient(task_of(), OfDicts(x), mg.Final(), PHI, steps=9, memory=memory) for x in (False, True)]
    assert found[0].grad.beta == found[1].grad.beta
    assert found[0].grad.eta == found[1].grad.eta


def test_what_is_frozen():
    array, number = np.zeros((2, 2)), np.float64(1.0)
    again = frozen(array)
    assert again.base is array
    assert array.flags.writeable
    assert frozen(again) is again
    pair = (again, number, None, ())
    assert frozen(pair) is pair
    tree = {"W": [array], "phi": Phi(array, number)}
    built = frozen(tree)
    assert type(built["phi"]) is Phi
    assert not built["W"][0].flags.writeable
    assert not built["phi"].eta.flags.writeable
    assert tree["W"][0].flags.writeable


def test_augmented_assignment_of_what_is_differentiated():
    """Right for what was computed; refused for what was given, as plain arrays refuse it."""

    def computed(x):
        y = x * 2.0
        y += x
        y *= y
        return np.sum(y)

    def copied(x):
        y = x.copy()
        y *= 3.0
        return np.sum(y * y)

    def given(x):
        x *= 2.0
        return np.sum(x)

    x = np.array([1.0, 2.0])
    assert ad.grad(computed)(x).tolist() == [18.0, 36.0]
    assert ad.grad(copied)(x).tolist() == [18.0, 36.0]
    with pytest.raises(TypeError, match=r"x \*= y on an array that a function was given.*x = x\.copy\(\)"):
        ad.grad(given)(x)


class Right(Rule):
    """A rule that writes into nothing; each mistake replaces a member."""

    def __init__(self):
        super().__init__("not at all")


class RightTask:
    """A task from one loss; each mistake replaces a member."""

    def init(self, draw):
        return np.ones((2, 3))

    def loss(self, w, sample):
        return np.sum(w * w, axis=-1)


def rule_with(**members):
    return type("Own", (Right,), members)()


def task_with(**members):
    return type("Own", (RightTask,), members)()


def no_answer(self, w, s):
    np.sum(w * w, axis=-1)


MISTAKES = {
    "a number for phi": (
        task_of(),
        Right(),
        0.1,
        TypeError,
        r"^Right\.step: an argument is a (ndarray|float), .* no `",
    ),
    "a dict for phi": (task_of(), Right(), {"eta": 0.1}, TypeError, r"^Right\.step: an argument is a dict, .* no `"),
    "no phi": (task_of(), Right(), None, TypeError, r"^Right\.step: an argument is a NoneType"),
    "another init": (
        task_of(),
        rule_with(init=lambda self, w: 0),
        PHI,
        TypeError,
        r"^Own\.init: .*takes 2 pos.*2 of them",
    ),
    "another loss": (task_with(loss=lambda self, w: 0), Right(), PHI, TypeError, r"^Own\.loss: .*takes 2 positional"),
    "a loss of all": (task_with(loss=lambda self, w, s: np.sum(w)), Right(), PHI, ValueError, r"^Own\.loss: .*\(\)"),
    "a loss that is a pair": (
        task_with(loss=lambda self, w, s: (w, w)),
        Right(),
        PHI,
        TypeError,
        "a tuple; .*one array",
    ),
    "a loss that is a list": (task_with(loss=lambda self, w, s: [1.0]), Right(), PHI, TypeError, "a list; .*np.stack"),
    "no loss": (task_with(loss=no_answer), Right(), PHI, TypeError, r"^Own\.loss: the loss is a NoneType"),
    "a start of integers": (
        task_with(init=lambda self, draw: np.ones((2, 3), int)),
        Right(),
        PHI,
        ValueError,
        "`init`",
    ),
    "a start of numbers": (
        task_with(init=lambda self, draw: [1.0, 2.0]),
        Right(),
        PHI,
        ValueError,
        r"\['float', 'float'\]",
    ),
    "an object for a state": (
        task_of(),
        rule_with(init=lambda self, p, w: object()),
        PHI,
        TypeError,
        "the state is a object",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("door", [mg.meta_gradient, mg.value, mg.rollout])
def test_a_mistake_of_a_beginner(name, door):
    task, rule, phi, kind, said = MISTAKES[name]
    if door is mg.rollout and name == "an object for a state":
        pytest.skip("it is handed on, whatever it is: nothing is differentiated")
    ask = (task, rule, phi) if door is mg.rollout else (task, rule, mg.Final(), phi)
    with pytest.raises(kind, match=said):
        door(*ask, steps=3)


@pytest.mark.parametrize("tree", [list, lambda pair: {"a": pair[0], "b": pair[1]}])
def test_weights_may_be_lists_and_dicts(tree):
    w0 = tree([np.ones((2, 3)), np.ones((2, 2))])

    def loss(w):
        return sum(np.sum(x * x, axis=-1) for x in ad.leaves(w))

    found = mg.meta_gradient(mg.FunctionTask(loss, w0), mg.GradientDescent(), mg.Final(), 0.1, steps=2)
    np.testing.assert_allclose(found.value.to_float(), 5 * 0.8**4, rtol=1e-14)


@pytest.mark.parametrize("labels", ["float64", "int64"])
def test_data_of_another_dtype_are_named(labels):
    inputs, targets = np.ones((5, 3)), np.ones(5, labels)

    def loss(w):
        return np.mean((w @ inputs.T - targets) ** 2, axis=-1)

    where = rf"where inputs is float64, targets is {labels}"
    text = rf"^FunctionTask: function is one that returns float64 for w0 of float32, {where}"
    with pytest.raises(TypeError, match=text):
        mg.FunctionTask(loss, np.zeros((2, 3), "float32"))
    task = type(
        "Table", (), {"init": lambda self, draw: np.zeros((2, 3), "float32"), "loss": lambda self, w, s: loss(w)}
    )()
    with pytest.raises(
        TypeError, match=r"^Table\.loss: the loss is of float64 for w of float32, where .*inputs is float64"
    ):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.1, steps=2)


@pytest.mark.parametrize(
    ("theta", "named"),
    [
        (np.array(-2.0), "theta is float64"),
        (np.float64(-2.0), "theta is float64"),
        (-2.0, "theta is a Python float"),
        ({"decay": np.array(-2.0), "other": np.float32(1.0)}, r"theta\['decay'\] is float64"),
    ],
)
@pytest.mark.parametrize("place", ["function", "validation"])
def test_meta_parameters_of_another_dtype_are_named(theta, named, place):
    data = np.ones(3, "float32")

    def plain(w):
        return np.mean((w - data) ** 2, axis=-1)

    def decayed(w, theta):
        return plain(w) + np.exp(theta["decay"] if isinstance(theta, dict) else theta)

    functions = {"function": decayed} if place == "function" else {"function": plain, "validation": decayed}
    where = (
        rf"^FunctionTask: {place} is one that returns float64 for w0 of float32, where {named}; .*Write such numbers"
    )
    with pytest.raises(TypeError, match=where) as raised:
        mg.FunctionTask(**functions, w0=np.zeros((2, 3), "float32"), theta=theta)
    assert "np.float32(...)" in str(raised.value)


def test_data_are_named_where_meta_parameters_are_not_the_cause():
    inputs = np.ones((5, 3))

    def loss(w, theta):
        return np.mean((w @ inputs.T) ** 2, axis=-1) + np.exp(theta)

    with pytest.raises(TypeError, match=r"where inputs is float64; .*Convert the data"):
        mg.FunctionTask(loss, np.zeros((2, 3), "float32"), theta=np.array(-2.0))


def test_classes_of_a_namespace_without_a_module_are_guarded():
    """`exec` in a bare dict makes classes that say they are of `builtins`."""
    names = {}
    source = "class Rule:\n    def init(self, phi, w): pass\n    def step(self, phi, state, w, f):\n        w -= phi"
    exec(source, names)
    with pytest.raises(ValueError, match=r"Rule.step: .* that is written into"):
        mg.meta_gradient(mg.Quadratic(np.eye(2), np.ones(2)), names["Rule"](), mg.Final(), np.array(0.1), steps=2)
