"""A loop of one's own takes the steps of the engine, bit by bit, whatever its parameters are."""

import copy

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad, optimizers
from metagrad.unroll.rollout import rollout
from tests.stepper.loops import (
    PARAMS,
    RULES,
    STEPS,
    gradient,
    in_dtype,
    loss,
    loss_of,
    pairs,
    rule_of,
    same_bits,
    stepped,
    with_task,
)


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
