"""Checkpoints of meta-training: the same bits after an interruption, and nothing else is taken for one."""

import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import metagrad as mg
from metagrad import files
from metagrad.training import Recipe, Trainer
from tests.training.small_run import PHI, RULE, SMALL, StopHereError, quadratics, same, trainer, until


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
    frozen = {"outer": mg.GradientDescent(), "outer_phi": mg.GradientDescent.Phi(np.float64(1e-300))}
    path = tmp_path / "a.npz"
    assert [trainer(recipe, **frozen).run(PHI, checkpoint=path).episodes for _ in range(2)] == [3, 3]
    assert trainer(replace(recipe, patience=4), **frozen).run(PHI, checkpoint=path).episodes == 5


OTHERS = [
    (
        Trainer(mg.CoordinatewiseLSTM((5,), None, 1.0), quadratics, mg.WeightedSum(), SMALL, seed=3),
        r"optimizer hidden = \(4,\) there, hidden = \(5,\) here; phi layers\[0\]\.weight = float64\(5, 16\) .* here",
    ),
    (Trainer(RULE, quadratics, mg.Final(), SMALL, seed=3), "objective WeightedSum there, Final here"),
    (Trainer(RULE, quadratics, mg.WeightedSum(), SMALL, seed=4), "seed 3 there, 4 here"),
    (trainer(Recipe(**{**vars(SMALL), "window": 4})), "recipe.window 3 there, 4 here"),
    (trainer(Recipe(**{**vars(SMALL), "curriculum": ((2, 6),)})), r"recipe.curriculum \(\) there, \(\(2, 6\),\) here"),
    (trainer(tasks=lambda seed: mg.random_quadratics(3, 3, seed=0)), "tasks quadratics there, <lambda> here"),
    (trainer(outer_phi=mg.Adam.Phi(0.02)), r"outer_phi\.eta 0\.001 there, 0\.02 here"),
    (trainer(outer_phi=mg.Adam.Phi(np.float32(1e-3))), r"outer_phi\.eta 0\.001 there, np\.float32\(0\.001\) here"),
]


@pytest.mark.parametrize(("other", "said"), OTHERS)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, other, said):
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    with pytest.raises(ValueError, match=rf"of another run \({said}\)"):
        other.run(other.optimizer.init_meta(np.random.default_rng(0)), checkpoint=path)


def test_a_run_goes_on_with_another_outer_step_where_that_is_asked_for(tmp_path):
    """With an outer step of next to nothing nothing moves any more, and the metrics go on."""
    path, longer = tmp_path / "a.npz", replace(SMALL, episodes=8)
    before = trainer().run(PHI, checkpoint=path)
    still = trainer(longer, outer_phi=mg.Adam.Phi(np.float64(1e-300)))
    with pytest.raises(ValueError, match=r"With changed=\('outer_phi\.eta',\) the run goes on with the new ones"):
        still.run(PHI, checkpoint=path)
    found = still.run(PHI, checkpoint=path, changed=("outer_phi",))
    assert found.episodes == 8
    assert same(found.last, before.last)
    assert same(still.run(PHI, checkpoint=path).last, before.last)  # it is the checkpoint of the new run now
    (change,) = files.read_npz(path, "here", formats=(3,))[1]["changes"]
    assert change == {"after": 6, "parts": {"outer_phi.eta": ["0.001", "np.float64(1e-300)"]}}


def test_a_run_goes_on_with_another_recipe_to_the_bits_of_one_that_changes_by_itself(tmp_path):
    path, staged = tmp_path / "a.npz", replace(SMALL, curriculum=((2, 9),), outer_factors=((2, 0.5),))
    trainer(replace(SMALL, episodes=2)).run(PHI, checkpoint=path)
    found = trainer(staged).run(PHI, checkpoint=path, changed=("recipe.curriculum", "recipe.outer_factors"))
    whole = trainer(staged).run(PHI)
    assert same(found.last, whole.last)
    assert found.value == whole.value
    assert not same(found.last, trainer().run(PHI).last)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("recipe.select",), "changed is 'recipe.select'; expected a setting that does not change what the checkpoint"),
        (("recipe",), "changed is 'recipe'"),
        (("outer_phi.et",), "Did you mean 'outer_phi.eta'"),
    ],
)
def test_what_the_best_was_selected_by_may_not_change(changed, message):
    with pytest.raises(ValueError, match=message):
        trainer().run(PHI, changed=changed)


def test_a_checkpoint_of_the_old_format_is_named(tmp_path):
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    arrays, about = files.read_npz(path, "here", formats=(3,))
    files.write_npz(path, arrays, about | {"format": 1})
    with pytest.raises(
        ValueError, match=r"a\.npz, an old checkpoint of another format \(1\); expected one of format 3"
    ):
        trainer().run(PHI, checkpoint=path)


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


def _one_nan(arrays, about):
    arrays["phi_0"][0, 3] = np.nan


def _one_inf(arrays, about):
    arrays["best_1"].flat[-1] = np.inf


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_one_nan, "phi_0 is not finite"),
        (_one_inf, "best_1 is not finite"),
        (_drop, "'outer_1' is missing"),
        (_add, "phi_9 does not belong"),
        (_wider, "phi_0 is float128.* in place of float64"),
        (_flat, r"best_0 is float64\(80,\) in place of float64\(5, 16\)"),
        (_nan, "outer_2 is not finite"),
        (lambda arrays, about: about.update(episode=1.5), r"episode is 1\.5"),
        (lambda arrays, about: about.update(since=-1), "since is -1"),
        (lambda arrays, about: about.pop("nonfinite"), "'nonfinite' is missing"),
        (lambda arrays, about: about.update(best_value="low"), "best_value is 'low'"),
        (lambda arrays, about: about.update(changes=0), "changes is 0"),
        (lambda arrays, about: about.update(seconds=-1.0), r"seconds is -1\.0"),
        (lambda arrays, about: about.update(seconds="long"), "seconds is 'long'"),
    ],
)
def test_an_edited_checkpoint_is_refused(tmp_path, edit, message):
    """Even where its checksum was made to match."""
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    arrays, about = files.read_npz(path, "here", formats=(3,))
    edit(arrays, about)
    files.write_npz(path, arrays, about)
    with pytest.raises(ValueError, match=rf"a\.npz, which was edited \({message}"):
        trainer().run(PHI, checkpoint=path)


def test_arrays_larger_than_those_of_the_run_take_no_memory(tmp_path):
    path = tmp_path / "a.npz"
    trainer().run(PHI, checkpoint=path)
    arrays, about = files.read_npz(path, "here", formats=(3,))
    files.write_npz(path, arrays | {"phi_9": np.zeros(2**25)}, about)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"which was edited \(its arrays take 268438\d+ bytes\); expected 3240 bytes"):
        trainer().run(PHI, checkpoint=path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    config = {"note": "x" * 2**21}
    with pytest.raises(ValueError, match=r"about is 210\d+ bytes of JSON; expected at most 1048576"):
        trainer().run(PHI, checkpoint=tmp_path / "b.npz", config=config)
    assert not (tmp_path / "b.npz").exists()


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
    with pytest.raises(ValueError, match=r"metrics is .*none.m\.jsonl; expected a file in a folder that exists"):
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


def test_the_time_of_all_parts_is_kept(tmp_path, monkeypatch):
    """By a clock that goes on by a second whenever somebody looks at it."""
    clock = iter(range(10**6))
    monkeypatch.setattr("metagrad.training.loop.time.monotonic", lambda: float(next(clock)))
    path = tmp_path / "a.npz"

    def seconds():
        return files.read_npz(path, "here", formats=(3,))[1]["seconds"]

    with pytest.raises(StopHereError):
        trainer().run(PHI, checkpoint=path, progress=until(3))
    first = seconds()
    assert first > 0
    trainer().run(PHI, checkpoint=path)
    whole = seconds()
    assert whole > first
    trainer().run(PHI, checkpoint=path)
    assert seconds() == whole, "there was nothing left to do"
    arrays, about = files.read_npz(path, "here", formats=(3,))
    files.write_npz(path, arrays, {name: x for name, x in about.items() if name != "seconds"})
    trainer(replace(SMALL, episodes=8)).run(PHI, checkpoint=path)
    assert np.isnan(seconds()), "a part of it was not counted"
