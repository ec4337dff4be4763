"""Meta-training: the same numbers whether it was interrupted or not, and no non-finite value made into a number."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.scaled import Scaled
from metagrad.training import NonFiniteError, Recipe, Trainer, store
from metagrad.training.outer import clip
from metagrad.xp import move, to_host
from tests.cupy_double import double

RULE = mg.CoordinatewiseLSTM((4,), None, 1.0)
PHI = RULE.init_meta(np.random.default_rng(0))
SMALL = Recipe(episodes=6, horizon=7, window=3, evaluate_every=2, evaluation_tasks=2, evaluation_steps=5)


def quadratics(seed):
    return mg.random_quadratics(3, 2, seed=seed % 1000)


def trainer(recipe=SMALL, tasks=quadratics, **more):
    return Trainer(RULE, tasks, mg.WeightedSum(), recipe, seed=3, **more)


def same(x, y):
    return all(np.array_equal(a, b) for a, b in zip(ad.leaves(x), ad.leaves(y), strict=True))


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


def test_checkpoints_come_between_evaluations_too(tmp_path, monkeypatch):
    monkeypatch.setattr("metagrad.training.trainer.SAVE_SECONDS", 0.0)
    path, rare = tmp_path / "a.npz", Recipe(**{**vars(SMALL), "evaluate_every": 6})
    whole = trainer(rare).run(PHI)
    with pytest.raises(StopHereError):
        trainer(rare).run(PHI, checkpoint=path, progress=until(3))
    seen = []
    again = trainer(rare).run(PHI, checkpoint=path, progress=seen.append)
    assert [row["episode"] for row in seen] == [3, 4, 5]
    assert same(again.last, whole.last)


def test_more_episodes_go_on_from_a_finished_run(tmp_path):
    longer = Recipe(**{**vars(SMALL), "episodes": 8})
    trainer().run(PHI, checkpoint=tmp_path / "a.npz")
    assert same(trainer(longer).run(PHI, checkpoint=tmp_path / "a.npz").last, trainer(longer).run(PHI).last)


def test_a_run_that_stopped_goes_on_with_more_patience(tmp_path):
    recipe = Recipe(episodes=9, horizon=3, window=3, evaluate_every=1, patience=2, evaluation_steps=3)
    frozen = {"outer": mg.GradientDescent(), "outer_phi": mg.GradientDescent.Phi(np.float64(0))}
    path = tmp_path / "a.npz"
    assert [trainer(recipe, **frozen).run(PHI, checkpoint=path).episodes for _ in range(2)] == [3, 3]
    assert trainer(replace(recipe, patience=4), **frozen).run(PHI, checkpoint=path).episodes == 5


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
    assert not np.isfinite(float(row["log2_gradient_norm"][0]))


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


def _drop(arrays, about):
    del arrays["outer_1"]


def _add(arrays, about):
    arrays["phi_9"] = np.zeros(2)


def _wider(arrays, about):
    arrays["phi_0"] = arrays["phi_0"].astype(np.longdouble)


def _flat(arrays, about):
    arrays["best_0"] = arrays["best_0"].ravel()


def _nan(arrays, about):
    arrays["outer_2"][...] = np.nan


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_drop, "'outer_1' is missing"),
        (_add, "phi_9 does not belong"),
        (_wider, "phi_0 is float128.* in place of float64"),
        (_flat, r"best_0 is float64\(80,\) in place of float64\(5, 16\)"),
        (_nan, "outer_2 is not finite"),
        (lambda arrays, about: about.update(episode=1.5), r"episode is 1\.5"),
        (lambda arrays, about: about.update(since=-1), "since is -1"),
        (lambda arrays, about: about.pop("nonfinite"), "'nonfinite' is missing"),
        (lambda arrays, about: about.update(best_value="low"), "best_value is 'low'"),
    ],
)
def test_an_edited_checkpoint_is_refused(tmp_path, edit, message):
    """Even where its checksum was made to match."""
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    arrays, about = store.read_npz(path, "here")
    edit(arrays, about)
    store.write_npz(path, arrays, about)
    with pytest.raises(ValueError, match=rf"a\.npz, which was edited \({message}"):
        trainer().run(PHI, checkpoint=path)


def test_arrays_that_changed_places_are_noticed(tmp_path):
    path = tmp_path / "a.npz"
    trainer(Recipe(episodes=3, horizon=3, window=3)).run(PHI, checkpoint=path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["phi_0"], arrays["outer_0"] = arrays["outer_0"], arrays["phi_0"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="does not match its checksum"):
        trainer().run(PHI, checkpoint=path)


def test_no_flipped_bit_changes_a_number(tmp_path):
    path, short = tmp_path / "a.npz", replace(SMALL, episodes=2)
    whole = trainer(short).run(PHI, checkpoint=path)
    content = path.read_bytes()
    draw = np.random.default_rng(0)
    refused = 0
    for place in draw.integers(len(content), size=150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.integers(8)
        path.write_bytes(flipped)
        try:
            found = trainer(short).run(PHI, checkpoint=path)
        except ValueError:
            refused += 1
        else:
            assert same(found.phi, whole.phi)  # it was a date, or a field that nobody reads
    assert refused > 100


def test_nothing_is_unpickled_and_nothing_unpacked_to_more_than_it_is(tmp_path):
    path, opened = tmp_path / "a.npz", []

    class Trap:
        def __reduce__(self):
            return opened.append, (1,)

    np.savez(path, about=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        trainer().run(PHI, checkpoint=path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="no npz archive"):
        trainer().run(PHI, checkpoint=path)
    np.savez_compressed(path, about=np.zeros(10**6))
    with pytest.raises(ValueError, match="it is compressed"):
        trainer().run(PHI, checkpoint=path)
    assert not opened


def test_two_runs_do_not_share_a_checkpoint(tmp_path):
    path = tmp_path / "a.npz"
    refused = []

    def second(row):
        with pytest.raises(ValueError, match=r"a\.npz, which another run is writing"):
            trainer().run(PHI, checkpoint=path)
        refused.append(row["episode"])

    trainer(replace(SMALL, episodes=1)).run(PHI, checkpoint=path, progress=second)
    assert refused == [0]
    assert trainer(replace(SMALL, episodes=2)).run(PHI, checkpoint=path).episodes == 2


def test_that_nothing_can_be_written_is_said_before_training(tmp_path):
    rows = []
    with pytest.raises(ValueError, match=r"checkpoint is .*a folder that exists"):
        trainer().run(PHI, checkpoint=tmp_path / "none" / "a.npz", progress=rows.append)
    with pytest.raises(OSError, match="none"):
        trainer().run(PHI, metrics=tmp_path / "none" / "m.jsonl", progress=rows.append)
    assert not rows


def test_what_a_killed_run_left_goes(tmp_path):
    (tmp_path / "a.npz.123.part").write_bytes(b"half")
    trainer(replace(SMALL, episodes=1)).run(PHI, checkpoint=tmp_path / "a.npz")
    assert not list(tmp_path.glob("*.part"))


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
