"""What both trainers share: any estimator, joint meta-parameters, steps that are no number, and measures with names."""

import json
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.cli import main
from metagrad.protocols import Estimate
from metagrad.scaled import Scaled
from metagrad.training import NonFiniteError, Recipe, Trainer, read_metrics
from metagrad.xp import rng
from tests.strategies import random_quadratic
from tests.training.small_run import PHI, RULE, SMALL, StopHereError, quadratics, same, trainer, until

GD = mg.GradientDescent()
SHORT = Recipe(episodes=4, horizon=6, window=6, evaluate_every=2, evaluation_steps=6)


def tuned(recipe=SHORT, tasks=quadratics, objective=None, **more):
    outer = {"outer": mg.Descent(0.05), "outer_phi": None}
    return Trainer(GD, tasks, objective or mg.LogFinal(), recipe, **(outer | more))


# -- any estimator


@dataclass(frozen=True)
class Differences:
    """An estimator of one's own, of values alone; it tells where a run ends only where that is asked for."""

    h: float = 1e-6
    with_end: bool = False

    def __call__(self, task, rule, objective, phi, *, steps, seed=0, at=None, run=None):
        def value(eta):
            return mg.Value()(task, rule, objective, type(phi)(eta), steps=steps, seed=seed, at=at, run=run)

        up, down, here = value(phi.eta + self.h), value(phi.eta - self.h), value(phi.eta)
        slope = np.asarray(np.mean(up.value.to_float() - down.value.to_float()) / (2 * self.h))
        end = here.end if self.with_end else None
        return Estimate(here.value, type(phi)(Scaled.of(slope)), here.status, here.status_step, end=end)


@pytest.mark.parametrize(
    ("estimator", "rtol"),
    [(mg.Forward(), 1e-12), (mg.Windows(window=99), 0), (mg.ClosedForm(), 1e-10), (Differences(), 1e-6)],
    ids=lambda x: type(x).__name__,
)
def test_every_estimator_trains(estimator, rtol):
    expected = tuned(estimator=mg.Reverse()).run(mg.GradientDescent.Phi(0.1))
    found = tuned(estimator=estimator).run(mg.GradientDescent.Phi(0.1))
    np.testing.assert_allclose(found.last.eta, expected.last.eta, rtol=rtol)
    assert expected.last.eta != 0.1
    task = quadratics(0)
    runs = [
        mg.MetaTrainer(task, GD, mg.LogFinal(), steps=6, estimator=e).run(0.1, 4) for e in (mg.Reverse(), estimator)
    ]
    np.testing.assert_allclose(runs[1].phi, runs[0].phi, rtol=rtol)


def test_windows_need_to_know_where_they_ended():
    cut = replace(SHORT, window=2)
    found = tuned(cut, estimator=Differences(with_end=True)).run(mg.GradientDescent.Phi(0.1))
    expected = tuned(cut, estimator=mg.Reverse()).run(mg.GradientDescent.Phi(0.1))
    np.testing.assert_allclose(found.last.eta, expected.last.eta, rtol=1e-6)
    message = r"estimator is a Differences, which does not tell where a window ended.*one window for the whole horizon"
    with pytest.raises(TypeError, match=message):
        tuned(cut, estimator=Differences()).run(mg.GradientDescent.Phi(0.1))


def test_an_estimator_of_whole_runs_alone_trains_where_there_are_no_windows():
    def whole(task, rule, objective, phi, *, steps, seed):  # knows of no `at` and no `run`
        return mg.Reverse()(task, rule, objective, phi, steps=steps, seed=seed)

    settings = {"objective": mg.LogFinal(), "steps": 6}
    ours, theirs = (
        mg.MetaTrainer(quadratics(0), GD, estimator=e, **settings).run(0.1, 4) for e in (whole, mg.Reverse())
    )
    np.testing.assert_array_equal(ours.phi, theirs.phi)
    with pytest.raises(TypeError, match="a function, which cannot go on from where a window ended"):
        tuned(replace(SHORT, window=2), estimator=whole).run(mg.GradientDescent.Phi(0.1))


def test_the_estimator_is_used_as_it_is():
    """Its gradient is its own; that of the recipe is for where there is no estimator."""
    phi = mg.GradientDescent.Phi(0.1)
    full, held = (tuned(estimator=mg.Reverse(gradient=g)).run(phi).last.eta for g in ("full", "stop_gradient"))
    assert full != held
    assert tuned().run(phi).last.eta == held
    assert tuned(replace(SHORT, gradient="full")).run(phi).last.eta == full
    assert tuned(replace(SHORT, gradient="full"), estimator=mg.Reverse()).run(phi).last.eta == full
    for estimator in (mg.Reverse(), Differences()):
        with pytest.raises(ValueError, match=r"recipe\.gradient is 'stop_gradient', and the estimator is .*one of the"):
            tuned(replace(SHORT, gradient="stop_gradient"), estimator=estimator)


def test_a_rule_is_told_the_horizon_of_the_run_in_every_window():
    seen = set()

    class Curious:
        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            seen.add((f.t, f.steps))
            return w - phi * f.gradient(w), ()

    run = Trainer(Curious(), quadratics, mg.Mean(), Recipe(1, 5, 2, evaluation_steps=1), estimator=mg.Reverse())
    run.run(np.asarray(0.1), progress=lambda row: None)
    assert {(t, 5) for t in range(5)} <= seen
    assert seen <= {(t, 5) for t in range(5)} | {(0, 1)}  # the evaluation


def test_an_outer_step_of_ones_own_does_its_own_clipping():
    for settings in ({"clip_norm": 1.0}, {"outer_factors": ((1, 0.5),)}):
        with pytest.raises(ValueError, match=f"recipe.{next(iter(settings))} is .*Give it to the outer step"):
            tuned(replace(SHORT, **settings)).run(mg.GradientDescent.Phi(0.1))


# -- meta-parameters of the task beside those of the rule


class Both(NamedTuple):
    log_decay: object


@dataclass(frozen=True)
class Ridge:
    """Regression with a weight decay that is a meta-parameter, measured on other samples."""

    seed: int = 0
    log_decay: object = None

    def _data(self):
        draw = np.random.default_rng(self.seed)
        X, truth = draw.standard_normal((2, 12, 6)), draw.standard_normal((2, 6))
        return X, np.einsum("bnd,bd->bn", X, truth) + 2.0 * draw.standard_normal((2, 12))

    def init(self, rng):
        return np.zeros((2, 6))

    def _error(self, w, half):
        X, y = self._data()
        return np.mean((np.einsum("bnd,bd->bn", X[:, half], w) - y[:, half]) ** 2, axis=-1)

    def loss(self, w, sample):
        return self._error(w, slice(0, 8)) + np.exp(self.log_decay) * np.sum(w * w, axis=-1)

    def validation_loss(self, w):
        return self._error(w, slice(8, None))

    def given(self, phi):
        return replace(self, log_decay=phi.log_decay)

    def check_given(self, phi, where):
        return Both(np.asarray(float(phi.log_decay)))


START = mg.Joint(mg.GradientDescent.Phi(np.asarray(0.05)), Both(-1.0))


def test_a_fixed_task_and_its_rule_are_tuned_side_by_side():
    run = mg.MetaTrainer(Ridge(), GD, mg.LogFinal("validation"), steps=30, scale=0.5).run(START, 40)
    assert run.names == ("rule.eta", "task.log_decay")
    assert run.phi[-1, 1] != -1.0
    assert (run.phi[:, 1] < 0).any(), "a logarithm is not projected"
    values = run.value_sign * 2.0**run.value_log2
    assert values[-1].mean() < values[0].mean()
    wild = mg.MetaTrainer(Ridge(), GD, mg.LogFinal("validation"), steps=30, scale=2.0, step="sign").run(START, 3)
    assert wild.projected[:, 0].any()
    assert not wild.projected[:, 1].any()
    assert (wild.phi[:, 0] > 0).all()


def test_fresh_tasks_and_their_rule_are_tuned_side_by_side(tmp_path):
    recipe = Recipe(episodes=6, horizon=20, window=10, gradient="full", evaluate_every=2, evaluation_steps=20)
    outer = {"outer_phi": mg.Adam.Phi(np.float64(0.05))}
    run = Trainer(GD, lambda seed: Ridge(seed % 1000), mg.Mean("validation"), recipe, **outer)
    whole = run.run(START)
    assert whole.last.task.log_decay != -1.0
    assert whole.measured == "final validation"
    path = tmp_path / "a.npz"
    with pytest.raises(StopHereError):
        run.run(START, checkpoint=path, progress=until(3))
    again = run.run(START, checkpoint=path)
    assert same(again.last, whole.last)
    assert same(again.phi, whole.phi)


# -- the same bits after a stop


@pytest.mark.parametrize("done", [1, 4, 7])
@pytest.mark.parametrize("outer", [mg.Through(mg.Adam(), mg.Adam.Phi(0.3)), mg.Descent(0.3, sign=True)], ids=repr)
def test_a_fixed_task_resumes_to_the_same_bits(tmp_path, outer, done):
    run = mg.MetaTrainer(random_quadratic(3, 4, seed=2), mg.Momentum(), mg.LogFinal(), steps=10, outer=outer)

    def stop(k, count):
        if k == done:
            raise StopHereError

    whole = run.run(mg.Momentum.Phi(0.05, 0.9), 9)
    assert whole.projected.any()
    with pytest.raises(StopHereError):
        run.run(mg.Momentum.Phi(0.05, 0.9), 9, checkpoint=tmp_path / "a.npz", every=2, progress=stop)
    again = run.run(mg.Momentum.Phi(0.05, 0.9), 9, checkpoint=tmp_path / "a.npz")
    for name, expected in vars(whole).items():
        assert np.array_equal(getattr(again, name), expected), name


@pytest.mark.parametrize("episode", [0, 1, 2, 3])
def test_windows_by_descent_resume_to_the_same_bits(tmp_path, episode):
    """The power of k counts outer steps, over all windows of all episodes."""
    run, path = tuned(replace(SHORT, window=4), estimator=mg.Reverse()), tmp_path / "a.npz"
    whole, phi = run.run(mg.GradientDescent.Phi(0.1)), mg.GradientDescent.Phi(0.1)
    with pytest.raises(StopHereError):
        run.run(phi, checkpoint=path, progress=until(episode))
    again = run.run(phi, checkpoint=path)
    assert again.last.eta == whole.last.eta
    assert again.value == whole.value


# -- steps that are no number


class Cliff:
    """One task of two diverges unless the step size is small."""

    def __init__(self, seed=0, stiff=1.0):
        self.c = np.array([1.0, stiff])

    def init(self, rng):
        return np.ones((2, 3))

    def loss(self, w, sample):
        return np.sum(0.5 * w**2 + self.c[:, None] * w**4, axis=-1)


def every_third(seed):
    return Cliff(stiff=1e3 if seed % 3 == 0 else 0.1)


PLAIN = {"estimator": mg.Reverse(scaling="none")}


def test_a_fixed_task_skips_or_stops():
    """With a step a task, only those that lead to no number; with one for all, the whole one."""
    settings = {"steps": 20, "scale": 0.01, "estimator": mg.Reverse(per_task=True, scaling="none")}
    eta = np.array([0.05, 0.05])
    stopped = mg.MetaTrainer(Cliff(stiff=1e3), GD, mg.Final(), **settings).run(eta, 4)
    skipping = mg.MetaTrainer(Cliff(stiff=1e3), GD, mg.Final(), **settings, on_nonfinite="skip")
    skipped = skipping.run(eta, 4)
    assert np.isnan(stopped.phi[1:, 1]).all()
    assert not stopped.skipped.any()
    assert np.array_equal(skipped.phi[:, 0], stopped.phi[:, 0])
    assert (skipped.phi[:, 1] == 0.05).all()
    assert np.array_equal(skipped.skipped, [[False, True]] * 4)
    one = mg.MetaTrainer(Cliff(stiff=1e3), GD, mg.Final(), **(settings | PLAIN), on_nonfinite="skip").run(0.05, 3)
    assert (one.phi == 0.05).all()
    assert one.skipped.all()
    through = mg.Through(mg.Adam(), mg.Adam.Phi(0.1))
    settings = {"steps": 20, "outer": through, **PLAIN}
    assert np.isnan(mg.MetaTrainer(Cliff(stiff=1e3), GD, mg.Final(), **settings).run(0.05, 3).phi[1:]).all()
    kept = mg.MetaTrainer(Cliff(stiff=1e3), GD, mg.Final(), **settings, on_nonfinite="skip").run(0.05, 3)
    assert (kept.phi == 0.05).all()
    assert kept.skipped.all()


def test_an_estimator_that_leaves_a_diverged_task_out_needs_no_skipping():
    estimator = mg.Reverse(scaling="none", diverged="skip")
    run = mg.MetaTrainer(Cliff(stiff=1e3), GD, mg.Final(), steps=20, scale=0.01, estimator=estimator).run(0.05, 4)
    assert (run.status[:, 1] != 0).all()
    assert np.isfinite(run.phi).all()
    assert (np.diff(run.phi[:, 0]) != 0).all()
    assert not run.skipped.any()


def test_one_diverging_task_does_not_end_the_training(tmp_path):
    recipe = Recipe(episodes=12, horizon=20, window=10, evaluate_every=4, patience_nonfinite=2, on_nonfinite="skip")
    run = Trainer(GD, every_third, mg.Final(), replace(recipe, evaluation_steps=1), **PLAIN, seed=2)
    phi, path, log = mg.GradientDescent.Phi(np.float64(0.05)), tmp_path / "a.npz", tmp_path / "m.jsonl"
    rows = []
    whole = run.run(phi, progress=rows.append)
    skipped = np.array([row["skipped"] for row in rows])
    assert skipped.any()
    assert not skipped.all()
    assert [row["nonfinite"] for row in rows] == list(skipped > 0)
    assert np.isfinite(whole.last.eta)
    with pytest.raises(StopHereError):
        run.run(phi, checkpoint=path, metrics=log, progress=until(6))
    assert run.run(phi, checkpoint=path, metrics=log).last.eta == whole.last.eta
    assert np.array_equal(read_metrics(log)["skipped"], skipped)


def test_a_run_of_skipped_steps_alone_ends_with_an_error():
    recipe = replace(SHORT, on_nonfinite="skip", patience_nonfinite=3, episodes=9)
    with pytest.raises(NonFiniteError, match="in 3 episodes in a row, up to episode 2"):
        Trainer(GD, lambda seed: Cliff(stiff=1e3), mg.Final(), recipe, **PLAIN).run(
            mg.GradientDescent.Phi(np.float64(9))
        )


def test_windows_that_were_projected_are_counted(tmp_path):
    path = tmp_path / "m.jsonl"
    recipe = replace(SHORT, window=3)
    settings = {"outer": mg.Descent(1e3), "outer_phi": None, "estimator": mg.Reverse()}
    rule, phi = mg.Momentum(), mg.Momentum.Phi(0.05, 0.9)
    found = Trainer(rule, quadratics, mg.LogFinal(), recipe, **settings).run(phi, metrics=path)
    rule.check_phi(found.last, "test")
    assert read_metrics(path)["projected"].sum() > 0


# -- what is measured, and what it is called


def regressions(seed):
    return mg.random_least_squares(3, 20, 8, sigma=1.0, seed=seed % 1000, split=0.5)


def test_selection_is_by_what_the_objective_looks_at(tmp_path):
    """By the training loss the last meta-parameters are the best; by the validation loss earlier ones are."""
    recipe = Recipe(episodes=6, horizon=20, window=20, gradient="full", evaluate_every=1, evaluation_steps=20)
    phi, path = mg.GradientDescent.Phi(np.float64(0.02)), tmp_path / "m.jsonl"
    run = Trainer(GD, regressions, mg.LogFinal("validation"), recipe)
    found = run.run(phi, metrics=path)
    curves = run.evaluation_curves(phi, 1, 20)
    seed = int(rng(0, "evaluation", 0).integers(2**62))
    task = regressions(seed)
    expected = mg.rollout(task, GD, phi, steps=20, seed=seed, measure=task.validation_loss)
    np.testing.assert_array_equal(curves, expected)
    assert run.evaluate(phi) == expected[-1].mean()
    assert found.value == run.evaluate(found.phi)
    assert found.measured == "final validation"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    named = {"objective": "LogFinal of validation", "evaluation": "final validation"}
    assert all(row["measured"] == named for row in rows)
    assert set(read_metrics(path)["measured.evaluation"]) == {"final validation"}
    train = replace(run, recipe=replace(recipe, measure="train"))
    assert train.evaluate(phi) == mg.rollout(task, GD, phi, steps=20, seed=seed, measure=task.train_loss)[-1].mean()
    assert train.measured["evaluation"] == "final train"
    assert trainer().measured == {"objective": "WeightedSum of loss", "evaluation": "final loss", "measure": "loss"}


def test_the_best_by_validation_is_another_than_that_by_the_training_loss():
    """Too large a step size fits the noise: the training loss goes on falling where the validation loss rises."""
    recipe = Recipe(episodes=12, horizon=60, window=60, evaluate_every=1, evaluation_tasks=4, evaluation_steps=60)
    outer = {"outer": mg.Descent(0.04, 0.0, sign=True), "outer_phi": None, "estimator": mg.Reverse()}
    phi = mg.GradientDescent.Phi(np.float64(0.01))
    by_train = Trainer(GD, regressions, mg.LogFinal("train"), recipe, **outer)
    by_validation = replace(by_train, recipe=replace(recipe, measure="validation"))
    rows = {"train": [], "validation": []}
    best = {
        name: run.run(phi, progress=rows[name].append).phi.eta
        for name, run in (("train", by_train), ("validation", by_validation))
    }
    assert best["validation"] < best["train"]
    for name, seen in rows.items():
        values = [row["evaluation"] for row in seen]
        assert seen[-1]["best"] == min(values), name


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match=r"measure is 'valdation'.*Did you mean 'validation'"):
        Recipe(1, measure="valdation")
    with pytest.raises(ValueError, match=r"on_nonfinite is 'skp'.*Did you mean 'skip'"):
        Recipe(1, on_nonfinite="skp")
    run = trainer(replace(SMALL, measure="validation"))
    with pytest.raises(ValueError, match="a task with a method validation_loss"):
        run.evaluate(PHI)
    assert RULE is run.optimizer


CONFIG = """
[task]
kind = "images"
data = "digits8x8"
sizes = [64, 3, 10]
batch_size = 8
train = 20
validation = 10
[optimizer]
kind = "sgd"
eta = 0.1
[objective]
kind = "last"
measure = "validation"
[training]
episodes = 2
horizon = 2
window = 2
on_nonfinite = "skip"
evaluate_every = 1
evaluation_steps = 2
"""


def test_the_command_says_what_it_measured(tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(CONFIG)
    assert main(["meta-train", str(config), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "2 episodes; best final validation" in said.out
    assert "Final of validation" in said.err  # the line of an episode has room for the objective and the best
    assert main(["evaluate", str(tmp_path / "run" / "optimizer.npz"), "--tasks", "1", "--steps", "2"]) == 0
    assert "mean validation" in capsys.readouterr().out
