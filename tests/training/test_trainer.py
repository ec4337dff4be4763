"""Meta-training: the same numbers whether it was interrupted or not, and no non-finite value made into a number."""

import json

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.scaled import Scaled
from metagrad.training import NonFiniteError, Recipe, Trainer
from metagrad.training.outer import clip

RULE = mg.CoordinatewiseLSTM((4,), None, 1.0)
PHI = RULE.init_meta(np.random.default_rng(0))
SMALL = Recipe(episodes=6, horizon=7, window=3, evaluate_every=2, evaluation_tasks=2, evaluation_steps=5)


def quadratics(seed):
    return mg.random_quadratics(3, 2, seed=seed % 1000)


def trainer(recipe=SMALL, tasks=quadratics, **more):
    return Trainer(RULE, tasks, mg.WeightedSum(), recipe, seed=3, **more)


def same(x, y):
    return all(np.array_equal(a, b) for a, b in zip(ad.leaves(x), ad.leaves(y), strict=True))


class StopHereError(Exception):
    pass


def until(episode):
    def progress(row):
        if row["episode"] == episode:
            raise StopHereError

    return progress


@pytest.mark.parametrize("episode", [0, 2, 3, 5])
def test_interrupted_and_resumed_it_gives_the_same_bits(tmp_path, episode):
    whole = trainer().run(PHI, checkpoint=tmp_path / "a.npz", metrics=tmp_path / "a.jsonl")
    with pytest.raises(StopHereError):
        trainer().run(PHI, checkpoint=tmp_path / "b.npz", metrics=tmp_path / "b.jsonl", progress=until(episode))
    again = trainer().run(PHI, checkpoint=tmp_path / "b.npz", metrics=tmp_path / "b.jsonl")
    assert same(again.phi, whole.phi)
    assert same(again.last, whole.last)
    assert again.value == whole.value
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_more_episodes_go_on_from_a_finished_run(tmp_path):
    longer = Recipe(**{**vars(SMALL), "episodes": 8})
    trainer().run(PHI, checkpoint=tmp_path / "a.npz")
    assert same(trainer(longer).run(PHI, checkpoint=tmp_path / "a.npz").last, trainer(longer).run(PHI).last)


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
    Trainer(RULE, lambda seed: task, mg.Final(), recipe, still, mg.GradientDescent.Phi(np.float64(0))).run(
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
    frozen = {"outer": mg.GradientDescent(), "outer_phi": mg.GradientDescent.Phi(np.float64(0))}
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


def tree(*values):
    return tuple(Scaled.of(np.asarray(v), e) for v, e in values)


def test_clipping_by_norm_keeps_the_direction_at_any_size():
    recipe = Recipe(episodes=1, clip_norm=2.0)
    for power in (0, 5000, 10**7):
        found = clip(tree(([3.0, 0.0], power), ([4.0], power)), recipe)
        np.testing.assert_allclose(np.concatenate(found.gradient), [1.2, 0, 1.6], rtol=1e-9)
        assert found.clipped
        assert found.finite
        np.testing.assert_allclose(found.log2_norm, np.log2(5) + power, rtol=1e-12)
    small = clip(tree(([0.3, 0.4], 0)), recipe)
    np.testing.assert_array_equal(small.gradient[0], [0.3, 0.4])
    assert not small.clipped


def test_clipping_by_value():
    found = clip(tree(([3.0, -0.5], 0), ([-9.0], 5000)), Recipe(episodes=1, clip_value=1.0))
    np.testing.assert_array_equal(np.concatenate(found.gradient), [1, -0.5, -1])
    assert found.clipped
    assert found.finite


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_never_clipped_to_one(bad):
    found = clip(tree(([bad, 1.0], 0)), Recipe(episodes=1, clip_norm=1.0, clip_value=1.0))
    assert not found.finite
    assert not found.clipped


def test_without_a_limit_a_gradient_beyond_the_floats_is_not_finite():
    assert not clip(tree(([1.0], 5000)), Recipe(episodes=1)).finite
    assert clip(tree(([0.0], 0)), Recipe(episodes=1, clip_norm=1.0)).finite


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    others = [
        Trainer(mg.CoordinatewiseLSTM((5,), None, 1.0), quadratics, mg.WeightedSum(), SMALL, seed=3),
        Trainer(RULE, quadratics, mg.Final(), SMALL, seed=3),
        Trainer(RULE, quadratics, mg.WeightedSum(), SMALL, seed=4),
        trainer(Recipe(**{**vars(SMALL), "window": 4})),
        trainer(tasks=lambda seed: mg.random_quadratics(3, 3, seed=0)),
    ]
    for other in others:
        with pytest.raises(ValueError, match="of another run"):
            other.run(other.optimizer.init_meta(np.random.default_rng(0)), checkpoint=path)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:100], lambda b: b[:-40], lambda b: b"no archive", lambda b: b[:200] + b"xx" + b[202:]]
)
def test_a_damaged_checkpoint_is_named_and_kept(tmp_path, damage):
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"a\.npz, which cannot be read|of another run"):
        trainer().run(PHI, checkpoint=path)
    assert path.read_bytes() == before


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with pytest.raises(StopHereError):
        trainer().run(PHI, checkpoint=path, progress=until(3))
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        trainer().run(PHI, checkpoint=path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_a_task_that_starts_at_inf_is_refused():
    class Endless(Exploding):
        def init(self, rng):
            return np.full((2, 2), 1e200)

    with pytest.raises(ValueError, match="whose loss is inf at the start"), np.errstate(over="ignore"):
        Trainer(mg.GradientDescent(), lambda seed: Endless(), mg.Final(), SMALL).run(
            mg.GradientDescent.Phi(np.float64(0.1))
        )


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
    ],
)
def test_bad_recipes(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(episodes=1, **settings)


def test_kinds():
    with pytest.raises(TypeError, match=r"window is 2\.5"):
        Recipe(episodes=1, window=2.5)
    with pytest.raises(TypeError, match="a function from a seed to a task"):
        trainer(tasks=quadratics(0)).run(PHI)
