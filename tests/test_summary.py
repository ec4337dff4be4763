"""print(estimate): a few lines that say OK or what happened, the value, the gradient by name, and the digits."""

import numpy as np

import metagrad as mg
from metagrad.errors import Status
from metagrad.protocols import Estimate

ONE = mg.Quadratic(np.diag([1.0, 0.5]), np.ones(2))
THREE = mg.random_quadratics(3, 2, seed=0)


def lines(*args, **options):
    return str(mg.meta_gradient(*args, **options)).splitlines()


def test_a_good_estimate_says_ok_and_names_the_gradient():
    phi = mg.Momentum.Phi(0.1, 0.5)
    found = mg.meta_gradient(ONE, mg.Momentum(), mg.Final(), phi, steps=5)
    first, value, eta, mu, digits = str(found).splitlines()
    assert first == "OK: 1 task, all numbers stayed within the range of the dtype"
    assert value == f"value     {float(found.value.to_float()[0]):.6g}"
    assert eta == f"gradient  eta  {float(found.grad.eta.to_float()):.6g}"
    assert mu == f"          mu   {float(found.grad.mu.to_float()):.6g}"
    assert digits == f"digits    value {found.digits.value[0]:.1f}, gradient {found.digits.gradient[0]:.1f}"


def test_several_tasks_are_told_by_mean_and_range_beyond_the_range_of_floats():
    found = mg.meta_gradient(THREE, mg.GradientDescent(), mg.Final(), 3.0, steps=5000)
    assert found.value.log10abs().min() > 3000
    said = str(found)
    ends = [str(x)[7:-1] for x in (found.value.mean(), found.value.min(), found.value.max())]
    assert "(mean over 3 tasks, from {1} to {2})".format(*ends) in said
    assert f"value     {ends[0]} (" in said
    assert said.endswith(", in the worst task")


def test_trouble_comes_first_with_its_status_and_what_to_do():
    said = lines(THREE, mg.GradientDescent(), mg.Final(), 3.0, steps=5000, scaling="none")
    assert said[0] == "NOT OK: 3 of 3 tasks"
    assert said[1].startswith("STATE_OVERFLOW (3 of 3 tasks, first at step ")
    assert "scaling='auto'" in " ".join(said)
    assert any(line.startswith("gradient  eta  nan") for line in said)
    assert max(map(len, said)) <= 80


def test_one_number_a_task_is_listed_and_a_network_is_told_by_the_length_of_each_array():
    phi = np.array([0.01, 0.02, 0.03])
    found = mg.meta_gradient(THREE, mg.GradientDescent(), mg.LogFinal(), phi, steps=9, per_task=True)
    numbers = ", ".join(f"{x:.6g}" for x in found.grad.eta.to_float())
    assert f"gradient  eta  {numbers}" in str(found).splitlines()
    rule = mg.CoordinatewiseLSTM.quadratic((3,))
    found = mg.meta_gradient(THREE, rule, mg.Final(), rule.init_meta(np.random.default_rng(0)), steps=3)
    length = np.linalg.norm(found.grad.layers[0].weight.to_float())
    shape = found.grad.layers[0].weight.shape
    said = next(line for line in str(found).splitlines() if "layers[0].weight" in line)
    assert said.endswith(f"{np.prod(shape)} numbers of shape {shape}, of length {length:.6g}")


def test_a_gradient_of_dicts_lists_and_of_many_arrays():
    def estimate(grad, **more):
        return Estimate(mg.Scaled.of(np.ones(1)), grad, np.zeros(1, int), np.full(1, -1), **more)

    one = mg.Scaled.of(np.asarray(2.0))
    said = str(estimate({"b": [one, None], "a": (one,)}))
    assert "gradient  phi['a'][0]  2\n          phi['b'][0]  2\n" in said
    assert said.endswith("digits    not told by this estimator")
    assert "          and 8 more" in str(estimate([one] * 20)).splitlines()
    lost = str(estimate(mg.Scaled.of(np.array([np.nan, 1.0, 2.0, 3.0, np.inf]))))
    assert "gradient  phi  5 numbers of shape (5,), of length nan" in lost
    assert "phi  2 (standard error 2)" in str(estimate(one, stderr=one))


def test_a_value_alone_has_no_gradient_and_notes_come_last():
    assert "gradient  none" in str(mg.value(ONE, mg.GradientDescent(), mg.Final(), 0.1, steps=3))
    status = np.array([Status.OK.code, Status.STATE_NAN.code])
    two = Estimate(mg.Scaled.of(np.ones(2)), None, status, np.array([-1, 7]), notes=("`mine` made the first NaN.",))
    said = str(two).splitlines()
    assert said[0] == "NOT OK: 1 of 2 tasks"
    assert said[1].startswith("STATE_NAN (1 of 2 tasks, first at step 7): ")
    assert said[-1] == "`mine` made the first NaN."
    assert "status_step=" in repr(two), "repr keeps every field"


def test_tasks_without_a_number_are_counted_and_the_others_are_told():
    spread = np.array([[1.0], [np.nan], [2.0]])
    task = mg.FunctionTask(lambda w: np.sum(spread * w * w, axis=-1), np.ones((3, 1)))
    value = lines(task, mg.GradientDescent(), mg.Final(), 0.1, steps=1)[3]
    assert value == "value     nan (mean over 3 tasks, from 0.64 to 0.72, 1 of them nan)"
    none = mg.FunctionTask(lambda w: np.sum(np.nan * w, axis=-1), np.ones((3, 1)))
    assert "value     nan (mean over 3 tasks)" in lines(none, mg.GradientDescent(), mg.Final(), 0.1, steps=1)
