"""Meta-training: it learns, by its recipe, and no non-finite value is made into a number."""

import json
from dataclasses import replace

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.scaled import Scaled
from metagrad.training import NonFiniteError, Recipe, Trainer, read_metrics
from metagrad.training.outer.through import clip
from metagrad.xp import move, to_host
from tests.cupy_double import double
from tests.training.small_run import PHI, RULE, SMALL, quadratics, same, trainer


def test_on_the_double(tmp_path):
    """On a device it gives the host's numbers, resumed from a checkpoint; a rule's Python floats go there as well."""

    def there(seed):
        return move(quadratics(seed), double.NAMESPACE)

    path, phi = tmp_path / "a.npz", move(PHI, double.NAMESPACE)
    trainer(replace(SMALL, episodes=2), there).run(phi, checkpoint=path)
    found, host = trainer(tasks=there).run(phi, checkpoint=path), trainer().run(PHI)
    for x, y in zip(ad.leaves(found.last), ad.leaves(host.last), strict=True):
        assert type(x) is type(ad.leaves(phi)[0])
        np.testing.assert_allclose(to_host(x), y, rtol=1e-9, atol=1e-12)
    rule = Trainer(mg.Adam(), there, mg.WeightedSum(), SMALL, outer_phi=mg.Adam.Phi(1e-4)).run(mg.Adam.Phi(0.01)).last
    assert {type(x) for x in rule} == {type(ad.leaves(phi)[0])}


def test_it_learns_and_keeps_the_best():
    recipe = Recipe(episodes=60, horizon=20, window=10, evaluate_every=10, evaluation_steps=20, select="log_final")
    run = Trainer(
        RULE,
        lambda seed: mg.DiagonalQuadratic(np.ones((8, 2)), np.random.default_rng(seed).standard_normal((8, 2))),
        mg.WeightedSum(),
        recipe,
        outer_phi=mg.Adam.Phi(np.float64(0.01)),
        seed=1,
    )
    found = run.run(PHI)
    assert found.value < run.evaluate(PHI) - 1  # more than an order of magnitude
    assert found.value == run.evaluate(found.phi) <= run.evaluate(found.last)


@pytest.mark.parametrize("outer", [mg.Adam(), mg.RMSprop(), mg.Adagrad(), mg.Momentum(), mg.Nesterov()], ids=repr)
def test_all_hyper_parameters_of_a_hand_designed_rule_are_trained(outer, tmp_path):
    """Numbers of shape () move as the one entry of an array does, and the rule's defaults are among them."""

    def tasks(seed):
        return mg.random_quadratics(3, 2, seed=seed % 1000, dtype=np.float32)

    recipe, path = Recipe(episodes=3, horizon=6, window=3, evaluate_every=1), tmp_path / "a.npz"
    run = Trainer(mg.Adam(), tasks, mg.WeightedSum(), recipe, outer, type(outer).Phi(1e-4))
    found = run.run(mg.Adam.Phi(0.01), checkpoint=path).last
    assert all(leaf.shape == () and leaf.dtype == np.float32 for leaf in found)
    assert all(x != y for x, y in zip(found[:3], mg.Adam.Phi(np.float32(0.01))[:3], strict=True))
    one = run.run(mg.Adam.Phi(*[np.full(1, x, np.float32) for x in mg.Adam.Phi(0.01)])).last
    assert all(np.array_equal(x, y[0]) for x, y in zip(found, one, strict=True))
    assert same(run.run(mg.Adam.Phi(0.01), checkpoint=path).last, found)  # from the checkpoint


def test_metrics_are_a_line_an_episode(tmp_path):
    trainer().run(PHI, metrics=tmp_path / "m.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [row["episode"] for row in rows] == list(range(6))
    assert all(len(row["objective"]) == len(row["log2_gradient_norm"]) == 3 for row in rows)
    assert [("evaluation" in row) for row in rows] == [False, True] * 3
    assert rows[0]["status"] == {"OK": 9}


def test_windows_with_carried_state_are_one_trajectory():
    """With an outer step of zero the last window's loss is that of one long unroll."""
    still = mg.GradientDescent()
    recipe = Recipe(episodes=1, horizon=7, window=3)
    rows = []
    task = quadratics(0)
    Trainer(RULE, lambda seed: task, mg.Final(), recipe, still, mg.GradientDescent.Phi(np.float64(1e-300))).run(
        PHI, progress=rows.append
    )
    whole = mg.Reverse()(task, RULE, mg.Final(), PHI, steps=7)
    np.testing.assert_allclose(rows[0]["objective"][-1], whole.value.to_float().mean(), rtol=1e-13)


def test_curriculum():
    recipe = Recipe(episodes=9, horizon=4, window=4, curriculum=((2, 6), (5, 8)))
    assert [recipe.horizon_of(k) for k in range(7)] == [4, 4, 6, 6, 6, 8, 8]
    assert recipe.windows_of(3) == [4, 2]


def test_the_outer_step_size_falls_by_stages():
    """After an episode with factor 1 and one with 0.5, phi is where two runs with those step sizes end one by one."""
    recipe = Recipe(episodes=2, horizon=4, window=4, outer_factors=((1, 0.5),))
    assert [recipe.outer_factor_of(k) for k in range(4)] == [1.0, 0.5, 0.5, 0.5]
    outer = mg.GradientDescent()
    staged = trainer(recipe, outer=outer, outer_phi=mg.GradientDescent.Phi(np.float64(0.01))).run(PHI)
    plain = trainer(Recipe(episodes=1, horizon=4, window=4), outer=outer, outer_phi=outer.Phi(np.float64(0.01)))
    first = plain.run(PHI).last
    full = trainer(Recipe(episodes=2, horizon=4, window=4), outer=outer, outer_phi=outer.Phi(np.float64(0.01)))
    for start, half, whole in zip(*(ad.leaves(x) for x in (first, staged.last, full.run(PHI).last)), strict=True):
        np.testing.assert_allclose(half - start, (whole - start) / 2, rtol=1e-9, atol=1e-15)


def test_an_outer_optimizer_without_a_step_size_takes_no_factors():
    recipe = Recipe(episodes=2, horizon=4, window=4, outer_factors=((1, 0.5),))
    with pytest.raises(ValueError, match="outer_factors, and outer_phi a tuple without `eta`"):
        trainer(recipe, outer_phi=(0.1,)).run(PHI)


def test_early_stopping():
    recipe = Recipe(episodes=50, horizon=3, window=3, evaluate_every=1, patience=3, evaluation_steps=3)
    frozen = {"outer": mg.GradientDescent(), "outer_phi": mg.GradientDescent.Phi(np.float64(1e-300))}
    assert trainer(recipe, **frozen).run(PHI).episodes == 4  # the first is the best, three are not better


class Exploding:
    """A task whose loss is fine at its start, and inf two steps later."""

    def init(self, rng):
        return np.full((2, 2), 1e150)

    def loss(self, w, sample):
        return np.sum(w * w, axis=-1)


def test_a_gradient_that_is_no_number_ends_the_episode_and_then_the_run():
    recipe = Recipe(episodes=9, horizon=4, window=4, patience_nonfinite=3, clip_norm=1.0, clip_value=1.0)
    rows = []
    with pytest.raises(NonFiniteError, match=r"3 episodes in a row, up to episode 2 \(.*\).*shorter windows"):
        Trainer(
            mg.GradientDescent(), lambda seed: Exploding(), mg.Final(), recipe, estimator=mg.Reverse(scaling="none")
        ).run(mg.GradientDescent.Phi(np.float64(1e60)), progress=rows.append)
    assert [row["nonfinite"] for row in rows] == [True, True]
    assert all(row["clipped"] == 0 for row in rows)


def test_metrics_are_json_where_numbers_are_not_finite(tmp_path):
    recipe = Recipe(episodes=2, horizon=4, window=4, evaluate_every=9)
    path = tmp_path / "m.jsonl"
    Trainer(
        mg.GradientDescent(), lambda seed: Exploding(), mg.Final(), recipe, estimator=mg.Reverse(scaling="none")
    ).run(mg.GradientDescent.Phi(np.float64(1e60)), metrics=path)

    def no_json(token):
        raise ValueError(token)

    row = json.loads(path.read_text().splitlines()[0], parse_constant=no_json)
    assert row["nonfinite"]
    assert row["objective"] == row["log2_gradient_norm"] == [None]
    assert set(row["nulls"]) == {"objective[0]", "log2_gradient_norm[0]"}
    assert not np.isfinite(read_metrics(path)["log2_gradient_norm"]).any()


def tree(*values):
    return tuple(Scaled.of(np.asarray(v), e) for v, e in values)


def test_clipping_by_norm_keeps_the_direction_at_any_size():
    for power in (0, 5000, 10**7):
        found = clip(tree(([3.0, 0.0], power), ([4.0], power)), norm=2.0)
        np.testing.assert_allclose(np.concatenate(found.gradient), [1.2, 0, 1.6], rtol=1e-9)
        assert found.clipped
        assert found.finite
        np.testing.assert_allclose(found.log2_norm, np.log2(5) + power, rtol=1e-12)
    small = clip(tree(([0.3, 0.4], 0)), norm=2.0)
    np.testing.assert_array_equal(small.gradient[0], [0.3, 0.4])
    assert not small.clipped


def test_clipping_by_value():
    found = clip(tree(([3.0, -0.5], 0), ([-9.0], 5000)), value=1.0)
    np.testing.assert_array_equal(np.concatenate(found.gradient), [1, -0.5, -1])
    assert found.clipped
    assert found.finite


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_never_clipped_to_one(bad):
    found = clip(tree(([bad, 1.0], 0)), norm=1.0, value=1.0)
    assert not found.finite
    assert not found.clipped


def test_without_a_limit_a_gradient_beyond_the_floats_is_not_finite():
    assert not clip(tree(([1.0], 5000))).finite
    assert clip(tree(([0.0], 0)), norm=1.0).finite


class Endless(Exploding):
    def init(self, rng):
        return np.full((2, 2), 1e200)


def test_a_task_that_starts_at_inf_is_refused():
    with pytest.raises(ValueError, match="whose loss is inf at the start"):
        Trainer(mg.GradientDescent(), lambda seed: Endless(), mg.Final(), SMALL).run(
            mg.GradientDescent.Phi(np.float64(0.1))
        )


def test_a_later_task_that_starts_at_inf_is_refused_and_named(tmp_path):
    def tasks(seed, met=[]):  # noqa: B006 - the third task that is asked for
        met.append(seed)
        return mg.random_quadratics(3, 2) if len(met) != 3 else Endless()

    path = tmp_path / "a.npz"
    recipe = Recipe(episodes=6, horizon=3, window=3, evaluate_every=100)
    with pytest.raises(ValueError, match=r"whose loss is inf at the start of episode 2 \(seed \d+\)"):
        trainer(recipe, tasks).run(PHI, checkpoint=path)
    assert path.exists()


def test_an_outer_step_that_overflows_is_no_step():
    """RMSprop's g^2 is inf long before g is, and g/sqrt(inf) = 0 would end the training without a word."""
    task = mg.DiagonalQuadratic(np.ones((1, 2), np.float32), np.full((1, 2), 1e16, np.float32))
    phi = mg.GradientDescent.Phi(np.asarray(np.float32(0.5)))
    outer = {"outer": mg.RMSprop(), "outer_phi": mg.RMSprop.Phi(0.01)}
    recipe = Recipe(episodes=9, horizon=2, window=2, patience_nonfinite=2)
    rows = []
    run = Trainer(mg.GradientDescent(), lambda seed: task, mg.WeightedSum(), recipe, **outer)
    with pytest.raises(NonFiniteError, match=r"or the outer step along it.*2 episodes in a row"):
        run.run(phi, progress=rows.append)
    assert rows[0]["nonfinite"]
    clipped = Trainer(
        mg.GradientDescent(), lambda seed: task, mg.WeightedSum(), replace(recipe, clip_norm=1.0, episodes=1), **outer
    )
    assert clipped.run(phi).last.eta != phi.eta


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window is 0"),
        ({"clip_norm": -1.0}, "clip_norm is -1"),
        ({"select": "finl"}, "'finl'.*'final'"),
        ({"gradient": "stop"}, "'stop'.*stop_gradient"),
        ({"curriculum": ((5, 10), (2, 20))}, "ascending"),
        ({"outer_factors": ((5, 0.5), (2, 0.1))}, "outer_factors .*ascending"),
        ({"outer_factors": ((5, 0.0),)}, "outer_factors .*factor above 0"),
        ({"patience": 0}, "patience is 0"),
        ({"curriculum": ((2, 0),)}, "a horizon of curriculum is 0"),
    ],
)
def test_bad_recipes(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(episodes=1, **settings)


def test_kinds():
    with pytest.raises(TypeError, match=r"window is 2\.5"):
        Recipe(episodes=1, window=2.5)
    for settings in ({"curriculum": ((2, 3.5),)}, {"curriculum": ((2,),)}, {"outer_factors": ((0.5, 1.0),)}):
        with pytest.raises(TypeError, match=next(iter(settings))):
            Recipe(episodes=1, **settings)
    with pytest.raises(TypeError, match="clip_norm is '1'"):
        Recipe(episodes=1, clip_norm="1")
    with pytest.raises(TypeError, match=r"outer_phi is a float; expected Adam\.Phi\(eta"):
        trainer(outer_phi=0.1).run(PHI)
    with pytest.raises(TypeError, match="a function from a seed to a task"):
        trainer(tasks=quadratics(0)).run(PHI)


def test_a_result_says_itself_in_a_line():
    found = trainer().run(PHI)
    count = sum(leaf.size for leaf in ad.leaves(PHI))
    assert repr(found) == f"Result(best final loss {found.value:.6g} in 6 episodes; {count} meta-parameters)"
