"""Coordinates of hyper-parameters that are trees, and of rules that hold others."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import move
from tests.cupy_double import double
from tests.optimizers.test_masked import TwoLayers
from tests.optimizers.test_unconstrained import slope
from tests.strategies import random_quadratic

LAYERS = {
    "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi({"head": 0.1, "body": 0.05})),
    "adam": (mg.Adam(), mg.Adam.Phi({"head": 0.1, "body": 0.05}, 0.8, {"head": 0.9, "body": 0.95}, 0.01)),
}
TREES = mg.Unconstrained(*LAYERS["adam"])


@pytest.mark.parametrize("per_task", [False, True])
@pytest.mark.parametrize("method", ["reverse", "forward"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_coordinate_a_layer(name, method, per_task):
    """d/d(coordinate) = (d eta/d coordinate) d/d eta, layer by layer."""
    rule, phi = LAYERS[name]
    free = mg.Unconstrained(rule)
    if per_task:
        phi = ad.tree_map(lambda x: x * np.array([1.0, 0.9]), phi)
    x = free.free(phi)
    direct, found = (
        mg.meta_gradient(TwoLayers(), r, mg.LogFinal(), p, steps=4, method=method, per_task=per_task)
        for r, p in ((rule, phi), (free, x))
    )
    np.testing.assert_allclose(found.value.to_float(), direct.value.to_float(), rtol=1e-13)
    for field, a, b, value in zip(phi._fields, found.grad, direct.grad, phi, strict=True):
        assert ad.paths(a) == ad.paths(b)
        for mine, theirs, at in zip(ad.leaves(a), ad.leaves(b), ad.leaves(value), strict=True):
            np.testing.assert_allclose(mine.to_float(), slope(field, at) * theirs.to_float(), rtol=1e-11)


def test_trees_there_and_back():
    phi = LAYERS["adam"][1]
    x = TREES.free()
    assert x.log_eta == {"head": float(np.log(0.1)), "body": float(np.log(0.05))}
    for a, b in zip(ad.leaves(TREES.phi(x)), ad.leaves(phi), strict=True):
        assert isinstance(a, float)
        assert a == pytest.approx(b, rel=1e-14)
    start = TREES.init_meta(None, np.float32)
    assert ad.paths(start) == ad.paths(x)
    assert all(leaf.dtype == np.float32 for leaf in ad.leaves(start))
    assert ad.leaves(TREES.phi(start))[0].dtype == np.float32


def test_trees_are_trained_and_on_the_double():
    task = TwoLayers()
    run = mg.MetaTrainer(task, TREES, mg.LogFinal(), steps=4, scale=0.1).run(TREES.init_meta(None), 10)
    assert run.value_log2[-1].mean() < run.value_log2[0].mean()
    w, x = task.init(None), TREES.init_meta(None)
    view = mg.FixedGradient(w)
    here, _ = TREES.step(x, TREES.init(x, w), w, view)
    w, x = move(w, double.NAMESPACE), move(x, double.NAMESPACE)
    there, _ = TREES.step(x, TREES.init(x, w), w, mg.FixedGradient(w))
    for a, b in zip(ad.leaves(there), ad.leaves(here), strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-14)


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda x: TREES.phi(x._replace(log_eta={"head": 1, "body": 0.0})), TypeError, r"log_eta\['head'\] is a int"),
        (
            lambda x: TREES.phi(x._replace(log_eta={})),
            TypeError,
            r"log_eta is \{\}; expected a float, a float array, or",
        ),
        (
            lambda x: TREES.check_phi(x._replace(log_eta={"head": np.nan, "body": 0.0}), "here"),
            ValueError,
            r"here: log_eta\['head'\] is nan; expected a finite coordinate",
        ),
        (
            lambda x: TREES.check_phi(x._replace(logit_beta2={"head": 0.0, "body": 800.0}), "here"),
            ValueError,
            r"logit_beta2\['body'\] is 800\.0; expected a coordinate whose beta2, in \(0, 1\), float64 can hold",
        ),
        (
            lambda x: TREES.free(mg.Adam.Phi(0.1, {"head": 0.0, "body": 0.5})),
            ValueError,
            r"beta1\['head'\] is 0\.0; expected a number in \(0, 1\)",
        ),
        (
            lambda x: mg.Unconstrained(*LAYERS["adam"], fixed=("eta",)),
            TypeError,
            "'eta', whose value is a tree; expected a Python float",
        ),
        (
            lambda x: mg.Unconstrained(mg.Adam(), fixed=("eps",)).free(mg.Adam.Phi(0.1, eps={"head": 0.1})),
            ValueError,
            r"eps is \{'head': 0\.1\}; expected 1e-08, at which it is fixed",
        ),
    ],
)
def test_bad_trees(act, kind, message):
    with pytest.raises(kind, match=message):
        act(TREES.free())


CLIPPED = mg.Chain(mg.ClipByNorm(), rule=mg.GradientDescent())


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [
        (mg.Scheduled(mg.Adam()), r"Scheduled\(Unconstrained\(Adam\(\)\)\)"),
        (mg.Scheduled(mg.Adam(), ("eta",)), r"Scheduled\(Unconstrained\(Adam\(\)\), \.\.\.\)"),
        (mg.Scheduled(CLIPPED), r"Scheduled\(Unconstrained\(Chain\(\.\.\.\)\)\)"),
        (mg.Until(mg.Scheduled(mg.Adam()), 0.1), r"Until\(Scheduled\(Unconstrained\(Adam\(\)\)\), \.\.\.\)"),
    ],
)
def test_a_schedule_of_entries_goes_around(rule, remedy):
    with pytest.raises(TypeError, match=rf"rule is a {type(rule).__name__}; .*Write {remedy}\."):
        mg.Unconstrained(rule)


@pytest.mark.parametrize("rest", [1e-20, 1e-3])
def test_a_beta_that_rounds_to_one_in_a_rule_that_follows_a_schedule(rest):
    """1 - beta2 = 1e-20 has its digits in the coordinate, and a schedule that is constant changes nothing."""
    following, plain = mg.Unconstrained(mg.Following(mg.Adam(), eta=mg.Exponential())), mg.Unconstrained(mg.Adam())
    x = plain.Phi(log_eta=-2.0, logit_beta1=1.0, logit_beta2=float(np.log(1 / rest)), log_eps=-5.0)
    y = following.Phi(log_eta_start=x.log_eta, log_eta_factor=0.0, **dict(zip(x._fields[1:], x[1:], strict=True)))
    task = random_quadratic(2, 3, seed=1)
    a, b = (mg.meta_gradient(task, r, mg.LogFinal(), p, steps=3) for r, p in ((plain, x), (following, y)))
    assert b.ok, b.report()
    for name in x._fields[1:]:
        mine, theirs = (float(getattr(found.grad, name).to_float()) for found in (b, a))
        assert mine == pytest.approx(theirs, rel=1e-12), name
