"""What the one call refuses, and how it says so."""

import numpy as np
import pytest

import metagrad as mg

TASK = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))


def call(**changes):
    arguments = {"task": TASK, "optimizer": mg.GradientDescent(), "objective": mg.LogFinal(), "phi": 0.1, "steps": 5}
    arguments |= changes
    positional = [arguments.pop(name) for name in ("task", "optimizer", "objective", "phi")]
    return mg.meta_gradient(*positional, **arguments)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"phi": 1}, TypeError, "eta is 1, an integer; expected a floating-point step size. Write 1.0 for 1."),
        ({"phi": np.array([1, 2])}, TypeError, "an integer"),
        ({"phi": -0.1}, ValueError, "eta is -0.1; expected a step size above 0"),
        ({"phi": 0.0}, ValueError, "eta is 0.0; expected a step size above 0"),
        ({"phi": float("nan")}, ValueError, "eta is nan; expected a finite step size"),
        ({"phi": float("inf")}, ValueError, "finite"),
        ({"phi": "0.1"}, TypeError, "a str"),
        ({"phi": np.full((), 0.1, dtype=np.float32)}, TypeError, "float32 while the task is float64"),
        ({"steps": 0}, ValueError, "steps is 0; expected an integer of at least 1"),
        ({"steps": -3}, ValueError, "steps is -3"),
        ({"steps": 2.0}, TypeError, "steps is 2.0, a float; expected an integer"),
        ({"steps": 10**9, "memory": 1000}, ValueError, "Give more memory"),
        ({"method": "revrse"}, ValueError, "Did you mean 'reverse'"),
        ({"method": 3}, TypeError, "a name or an Estimator"),
        ({"scaling": "ful"}, ValueError, "scaling is 'ful'"),
        ({"gradient": "stop_grad"}, ValueError, "Did you mean 'stop_gradient'"),
        ({"memry": 3}, TypeError, "Did you mean 'memory'"),
        ({"device": "cuda"}, ValueError, "device is 'cuda'"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"optimizer": mg.GradientDescent}, TypeError, r"the class GradientDescent.*Write GradientDescent\(\)"),
        ({"objective": mg.GradientDescent()}, TypeError, "without"),
        ({"task": np.ones(3)}, TypeError, "without init, loss"),
        ({"optimizer": mg.Scheduled(mg.GradientDescent()), "phi": np.ones(4)}, ValueError, "5 entries"),
        ({"optimizer": mg.Scheduled(mg.GradientDescent()), "phi": 0.1}, ValueError, "a number"),
        ({"phi": np.ones(3), "per_task": True}, ValueError, "per_task"),
        ({"phi": np.ones(3)}, ValueError, "shape"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=message):
        call(**changes)


@pytest.mark.parametrize(
    ("H", "w0", "error", "message"),
    [
        (np.ones((2, 3)), np.ones(2), ValueError, r"H is of shape \(2, 3\)"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2), ValueError, "not symmetric"),
        (np.diag([1.0, -1.0]), np.ones(2), ValueError, "indefinite .an eigenvalue is -1"),
        (np.diag([1.0, np.nan]), np.ones(2), ValueError, "H is not finite"),
        (np.eye(2), np.array([1.0, np.inf]), ValueError, "w0 is not finite"),
        (np.eye(2), np.ones(3), ValueError, r"expected shape \(3, 3\) or \(1, 3, 3\)"),
        (np.eye(2), np.ones((2, 2, 2)), ValueError, "w0"),
        (np.eye(2, dtype=int), np.ones(2), TypeError, "int64"),
        ([[1.0]], np.ones(1), TypeError, "a list"),
        (np.eye(2, dtype=np.float32), np.ones(2), TypeError, "one dtype"),
    ],
)
def test_bad_quadratics(H, w0, error, message):
    with pytest.raises(error, match=message):
        mg.Quadratic(H, w0)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_quadratics_of_any_size_are_judged_alike(size):
    mg.Quadratic(np.diag([1.0, 0.0]) * size, np.ones(2))
    with pytest.raises(ValueError, match="indefinite"):
        mg.Quadratic(np.diag([1.0, -1e-3]) * size, np.ones(2))


def test_bad_diagonals_and_functions():
    with pytest.raises(ValueError, match="negative somewhere"):
        mg.DiagonalQuadratic(np.array([1.0, -1.0]), np.ones(2))
    with pytest.raises(ValueError, match="w0"):
        mg.DiagonalQuadratic(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="keep the task axis"):
        mg.FunctionTask(np.sum, np.ones((2, 2)))
    with pytest.raises(TypeError, match="task axis first"):
        mg.FunctionTask(np.sum, np.ones(2))


@pytest.mark.parametrize("method", ["reverse", "forward", "closed_form"])
def test_methods_agree(method):
    found = call(method=method, phi=0.3, steps=10)
    assert found.ok
    assert found.report() == mg.Status.OK.message
    assert float(found.grad.eta.to_float()) == pytest.approx(
        float(call(phi=0.3, steps=10).grad.eta.to_float()), rel=1e-13
    )


def test_an_estimator_may_be_given():
    assert call(method=mg.Forward()).ok
    with pytest.raises(TypeError, match="Give them to the estimator itself"):
        call(method=mg.Forward(), scaling="none")


def test_device_cpu_is_where_it_is():
    assert call(device="cpu").ok


def test_closed_form_says_what_it_does_not_cover():
    other = mg.FunctionTask(lambda w: np.sum(w * w, axis=-1), np.ones((1, 2)))
    with pytest.raises(ValueError, match="Use method='reverse'"):
        call(task=other, method="closed_form")
    with pytest.raises(ValueError, match="Use method='reverse'"):
        call(objective=mg.WeightedSum(), method="closed_form", gradient="stop_gradient")
    with pytest.raises(ValueError, match="DiagonalQuadratic"):
        call(phi=np.array([0.1, 0.2]), method="closed_form")


def loss_of(w, sample=None, theta=1.0):
    return np.sum(theta * w * w, axis=-1)


@pytest.mark.parametrize(
    ("loss", "more", "message"),
    [
        (lambda w, theta: loss_of(w, theta=theta), {}, "theta is None, while a function needs it.*Give theta="),
        (
            lambda w, *, sample: np.sum(w * w, axis=-1),
            {},
            "sampler is None, while a function needs `sample`.*Give sampler=",
        ),
        (loss_of, {"validation": lambda w, theta: loss_of(w)}, "theta is None, while a function needs it"),
        (lambda w: np.sum(w * w, axis=-1), {"sampler": lambda rng, t: 0}, "one that takes no `sample`"),
        (lambda w: np.sum(w * w, axis=-1), {"theta": np.array(1.0)}, "theta is one that no function takes"),
    ],
)
def test_a_function_and_what_it_is_given_have_to_fit(loss, more, message):
    with pytest.raises(TypeError, match=message):
        mg.FunctionTask(loss, np.ones((2, 3)), **more)


def test_a_function_may_have_defaults_and_any_name_for_w():
    for loss in (loss_of, lambda theta: np.sum(theta * theta, axis=-1), lambda w, **more: np.sum(w * w, axis=-1)):
        found = mg.FunctionTask(loss, np.ones((2, 3))).loss(np.ones((2, 3)), None)
        np.testing.assert_array_equal(found, [3.0, 3.0])
