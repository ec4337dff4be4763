"""The outer loop: the paper's recipe, resumption to the same bits, and bad gradients that stay bad."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import files
from metagrad.theory import least_squares, quadratic
from metagrad.training.store import Progress
from tests.strategies import random_quadratic

TASK = random_quadratic(4, 3, seed=1, diagonal=True)


def trainer(**changes):
    settings = {"objective": mg.LogFinal(), "steps": 10, "scale": 0.1, "estimator": mg.Reverse(per_task=True)}
    return mg.MetaTrainer(TASK, mg.GradientDescent(), **(settings | changes))


def test_it_is_the_recipe():
    run = trainer().run(np.full(4, 0.3), 5)
    eta = np.full(4, 0.3)
    for k in range(1, 6):
        phi = mg.GradientDescent.Phi(eta)
        found = mg.Reverse(per_task=True)(TASK, mg.GradientDescent(), mg.LogFinal(), phi, steps=10)
        eta = np.maximum(0.0, eta - 0.1 / np.sqrt(k) * found.grad.eta.to_float())
        np.testing.assert_allclose(run.phi[k], eta, rtol=1e-14)
    assert run.meta_steps == 5
    assert not run.status.any()


def test_it_learns_the_minimiser():
    run = trainer(scale=0.02).run(np.full(4, 0.6), 1500)
    best = quadratic.minimiser(quadratic.Spectrum(TASK.eigenvalues, TASK.w0**2), 10)
    error = np.abs(run.phi[-1] / best - 1)
    assert np.median(error) <= 1e-6
    assert error.max() <= 0.03, "a task with a sharp kink still oscillates by about c/sqrt(k) times the bound of G'"


def test_a_resumed_run_gives_the_same_bits(tmp_path):
    unbroken = trainer().run(np.full(4, 0.3), 30)
    path = tmp_path / "run.npz"

    def stop(done, count):
        if done == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer().run(np.full(4, 0.3), 30, checkpoint=path, every=5, progress=stop)
    seen = []
    resumed = trainer().run(np.full(4, 0.3), 30, checkpoint=path, progress=lambda done, count: seen.append(done))
    assert seen[0] == 16, "the checkpoint of step 15 is where it goes on"
    for name in ("phi", "value_log2", "grad_log2", "grad_sign", "status"):
        assert np.array_equal(getattr(unbroken, name), getattr(resumed, name))


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"no archive at all"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "run.npz"
    trainer().run(np.full(4, 0.3), 6, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"run\.npz.*Remove the file to start anew"):
        trainer().run(np.full(4, 0.3), 6, checkpoint=path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": 0.2}, r"scale 0\.1 there, 0\.2 here"),
        ({"steps": 11}, "steps 10 there, 11 here"),
        ({"objective": mg.Final()}, "objective LogFinal there, Final here"),
        ({"seed": 1}, "seed 0 there, 1 here"),
        ({"step": "sign"}, "step 'gradient' there, 'sign' here"),
        ({"scale": 0.2, "power": 0.0}, r"scale 0\.1 there, 0\.2 here; power 0\.5 there, 0\.0 here"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, changes, said):
    path = tmp_path / "run.npz"
    trainer().run(np.full(4, 0.3), 6, checkpoint=path)
    with pytest.raises(ValueError, match=rf"of another run \({said}\)"):
        trainer(**changes).run(np.full(4, 0.3), 6, checkpoint=path)
    with pytest.raises(
        ValueError, match=r"of another run \(phi eta = float64\(4,\) \[0\.3, .* there, eta = .*\[0\.31, .* here\)"
    ):
        trainer().run(np.full(4, 0.31), 6, checkpoint=path)


@pytest.mark.parametrize("changes", [{"scale": 0.02}, {"power": 0.0}, {"step": "sign"}, {"scale": 0.02, "power": 0.0}])
def test_a_run_goes_on_with_other_settings_where_that_is_asked_for(tmp_path, changes):
    """Three steps as before, then as another run would go on from there; the checkpoint is then that of the new one."""
    path, phi = tmp_path / "run.npz", np.full(4, 0.3)
    first = trainer().run(phi, 3, checkpoint=path)
    other = trainer(**changes)
    with pytest.raises(ValueError, match=r"of another run.*With changed=\(.*\) the run goes on"):
        other.run(phi, 5, checkpoint=path)
    found = other.run(phi, 5, checkpoint=path, changed=tuple(changes))
    assert np.array_equal(found.phi[:4], first.phi)
    eta = first.phi[3]
    for k in (4, 5):
        at = Progress(mg.GradientDescent.Phi(eta), outer=(), best=(), episode=k - 1, steps=k - 1)
        eta = other._loop(k).episode(at)[0].phi.eta
        assert np.array_equal(found.phi[k], eta)
    assert not np.array_equal(found.phi, trainer().run(phi, 5).phi)
    assert np.array_equal(other.run(phi, 6, checkpoint=path).phi[:6], found.phi)
    (change,) = files.read_npz(path, "here", formats=(3,))[1]["changes"]
    assert change["after"] == 3
    assert set(change["parts"]) == set(changes)
    with pytest.raises(ValueError, match="of another run"):
        trainer().run(phi, 6, checkpoint=path)


def test_what_was_not_named_may_not_change(tmp_path):
    path, phi = tmp_path / "run.npz", np.full(4, 0.3)
    trainer().run(phi, 3, checkpoint=path)
    with pytest.raises(
        ValueError, match=r"of another run \(power 0\.5 there, 0\.0 here\).*changed=\('scale', 'power'\)"
    ):
        trainer(scale=0.02, power=0.0).run(phi, 5, checkpoint=path, changed=("scale",))
    with pytest.raises(
        ValueError, match=r"of another run \(objective LogFinal there, Final here\); .*give another one\.$"
    ):
        trainer(scale=0.02, objective=mg.Final()).run(phi, 5, checkpoint=path, changed=("scale",))


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ("scale", TypeError, r"changed is 'scale'; expected a tuple of names.*\('scale',\)"),
        ((1,), TypeError, "a tuple of names"),
        (("scal",), ValueError, "changed is 'scal'.*Did you mean 'scale'"),
        (("objective",), ValueError, "changed is 'objective'; expected a setting that does not change what"),
    ],
)
def test_names_of_changed_settings_are_checked(changed, kind, message):
    with pytest.raises(kind, match=message):
        trainer().run(np.full(4, 0.3), 1, changed=changed)


def test_a_checkpoint_of_the_old_format_is_named(tmp_path):
    path = tmp_path / "run.npz"
    about = np.frombuffer(b'{"fingerprint": "0", "format": 1}', dtype=np.uint8)
    np.savez(path, status=np.zeros((3, 4)), about=about)
    message = r"run\.npz, an old checkpoint of another format \(1\); expected one of format 3\. Use the version of"
    with pytest.raises(ValueError, match=message):
        trainer().run(np.full(4, 0.3), 6, checkpoint=path)


def test_an_edited_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    trainer().run(np.full(4, 0.3), 6, checkpoint=path)
    arrays, about = files.read_npz(path, "here", formats=(3,))
    for edited in (about | {"steps": 5}, about | {"steps": None}, about | {"changes": 0}):
        files.write_npz(path, arrays, edited)
        with pytest.raises(ValueError, match="which was edited"):
            trainer().run(np.full(4, 0.3), 6, checkpoint=path)
    files.write_npz(path, arrays, about | {"parts": [1]})
    with pytest.raises(ValueError, match="of another run"):
        trainer().run(np.full(4, 0.3), 6, checkpoint=path)


def test_two_runs_do_not_share_a_checkpoint(tmp_path):
    path, refused = tmp_path / "run.npz", []

    def second(done, count):
        with pytest.raises(ValueError, match=r"run\.npz, which another run is writing"):
            trainer().run(np.full(4, 0.3), 6, checkpoint=path)
        refused.append(done)

    trainer().run(np.full(4, 0.3), 2, checkpoint=path, progress=second)
    assert refused == [1, 2]


def test_that_nothing_can_be_written_is_said_before_training(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    done = []
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left") as caught:
        trainer().run(np.full(4, 0.3), 6, checkpoint=tmp_path / "run.npz", progress=lambda *x: done.append(x))
    assert caught.value.filename == str(tmp_path / "run.npz")
    assert not done


def test_a_run_that_was_stopped_before_its_first_step_begins_anew(tmp_path):
    path = tmp_path / "run.npz"

    def stop(done, count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer().run(np.full(4, 0.3), 2, checkpoint=path, progress=stop)
    assert np.array_equal(trainer().run(np.full(4, 0.3), 2, checkpoint=path).phi, trainer().run(np.full(4, 0.3), 2).phi)


def test_a_gradient_that_is_no_number_ends_its_own_run_only():
    plain = trainer(steps=300, estimator=mg.Reverse(per_task=True, scaling="none"))
    run = plain.run(np.array([0.3, 30.0, 0.3, 0.3]), 3)
    assert np.isnan(run.phi[1:, 1]).all()
    assert np.isfinite(run.phi[:, [0, 2, 3]]).all()
    assert (run.status[:, 1] != 0).all()


def test_a_huge_gradient_is_projected_not_lost():
    naive = trainer(steps=2000, objective=mg.Final())
    run = naive.run(np.full(4, 30.0), 1)
    assert (run.grad_log2[0] > 5000).all()
    assert (run.phi[1] == np.finfo(np.float64).tiny).all()
    assert run.projected.all()
    assert not run.status.any()


@pytest.mark.parametrize(
    ("optimizer", "phi", "width"),
    [
        (mg.GradientDescent(), 0.3, 1),
        (mg.GradientDescent(), np.full(3, 0.3), 3),
        (mg.Scheduled(mg.GradientDescent()), np.full(10, 0.3), 10),
    ],
)
def test_phi_of_every_shape(optimizer, phi, width):
    run = mg.MetaTrainer(TASK, optimizer, mg.LogFinal(), steps=10, scale=0.05).run(phi, 50)
    assert run.phi.shape == (51, width)
    assert run.value_log2.shape == (50, 4)
    values = run.value_sign * 2.0**run.value_log2
    assert values[-1].mean() < values[0].mean()


def quadratic_loss(scale):
    def loss(w):
        return scale * np.sum(w * w, axis=-1)

    return loss


def quartic_loss(scale):
    def loss(w):
        return scale * np.sum(w * w * w * w, axis=-1)

    return loss


class Decay:
    """Gradient descent with a rate that decays; the rule is told when the class is made."""

    Phi = mg.GradientDescent.Phi

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w - self.rate(phi.eta) * f.gradient(w), state


def decay(rate):
    return type("Decay", (Decay,), {"rate": staticmethod(rate)})()


def of_own_code(loss, rate=lambda eta: eta):
    return mg.MetaTrainer(mg.FunctionTask(loss, np.ones((2, 3))), decay(rate), mg.Final(), steps=4, scale=0.01)


@pytest.mark.parametrize(
    ("loss", "rate"),
    [
        (quartic_loss(1.0), lambda eta: eta),
        (quadratic_loss(2.0), lambda eta: eta),
        (quadratic_loss(1.0), lambda eta: 0.5 * eta),
    ],
    ids=["another body", "another number enclosed", "another static method"],
)
def test_the_checkpoint_of_another_code_is_refused(tmp_path, loss, rate):
    phi, path = Decay.Phi(np.asarray(0.1)), tmp_path / "run.npz"
    first = of_own_code(quadratic_loss(1.0)).run(phi, 3, checkpoint=path)
    again = of_own_code(quadratic_loss(1.0)).run(phi, 3, checkpoint=path)
    assert np.array_equal(first.phi, again.phi)
    with pytest.raises(ValueError, match="of another run"):
        of_own_code(loss, rate).run(phi, 3, checkpoint=path)


def test_a_checkpoint_goes_on_after_the_task_was_used(tmp_path):
    path = tmp_path / "run.npz"
    task = mg.random_least_squares(2, 8, 3, sigma=0.5, seed=0)
    settings = mg.MetaTrainer(task, mg.GradientDescent(), mg.LogExcess(), steps=5, scale=0.01)
    settings.run(0.1, 2, checkpoint=path)
    task.train_floor()
    assert settings.run(0.1, 4, checkpoint=path).meta_steps == 4


def test_a_checkpoint_of_more_steps_gives_the_first_ones(tmp_path):
    path = tmp_path / "run.npz"
    long = trainer().run(np.full(4, 0.3), 6, checkpoint=path)
    short = trainer().run(np.full(4, 0.3), 4, checkpoint=path)
    assert short.meta_steps == 4
    assert np.array_equal(short.phi, long.phi[:5])


def moved(leaf, mantissa, exponent, rate):
    grad = mg.Scaled(np.array([mantissa]), np.array([exponent], dtype=np.int64))
    return mg.Descent(0.1).moved(np.array([leaf]), grad, rate)[0]


@pytest.mark.parametrize(("exponent", "rate"), [(1100, -1050), (2000, -1070), (-1100, 90), (-2090, 1020), (3, 4)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_that_fits_is_exact_even_where_its_gradient_does_not(exponent, rate, sign):
    expected = -sign * 0.75 * 2.0 ** (exponent + rate)
    assert expected != 0
    assert moved(0.0, sign * 0.75, exponent, 2.0**rate) == expected


def test_a_step_too_large_for_a_float_keeps_its_sign():
    assert moved(1.0, 0.5, 2**40, 1.0) == -np.inf
    assert moved(1.0, -0.5, 2**40, 1.0) == np.inf
    assert np.isnan(moved(1.0, np.nan, 0, 1.0))
    assert np.isnan(moved(1.0, np.inf, 0, 1.0))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"steps": 0}, ValueError, "steps is 0; expected an integer of at least 1"),
        ({"steps": 10.0}, TypeError, "steps is 10.0, a float"),
        ({"steps": True}, TypeError, "steps is True, a bool"),
        ({"scale": 0.0}, ValueError, "scale is 0.0"),
        ({"scale": -1.0}, ValueError, "scale is -1.0"),
        ({"scale": np.inf}, ValueError, "scale is inf"),
        ({"scale": np.nan}, ValueError, "scale is nan"),
        ({"power": np.nan}, ValueError, "power is nan"),
        ({"power": -np.inf}, ValueError, "power is -inf"),
        ({"on_nonfinite": "skp"}, ValueError, "on_nonfinite is 'skp'.*Did you mean 'skip'"),
        ({"scale": mg.Momentum.Phi(0.1, -1.0)}, ValueError, "scale is .*finite numbers above 0"),
        ({"scale": "0.1"}, TypeError, "scale is '0.1', a str"),
        ({"scale": ()}, TypeError, r"scale is \(\); expected a number, or a tree"),
        ({"outer": mg.Descent(0.1)}, ValueError, "scale is 0.1 beside `outer`; expected one of the two"),
    ],
)
def test_settings_are_checked(changes, kind, message):
    with pytest.raises(kind, match=f"MetaTrainer: .*{message}"):
        trainer(**changes)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"meta_steps": 2.0}, TypeError, "meta_steps is 2.0, a float"),
        ({"meta_steps": 1, "every": 0}, ValueError, "every is 0"),
        ({"meta_steps": 1, "checkpoint": "no such folder/run.npz"}, ValueError, "Make the folder first"),
    ],
)
def test_arguments_of_a_run_are_checked(arguments, kind, message):
    with pytest.raises(kind, match=f"MetaTrainer.run: .*{message}"):
        trainer().run(np.full(4, 0.3), **arguments)


def test_bad_meta_steps():
    with pytest.raises(ValueError, match="meta_steps is 0"):
        trainer().run(np.full(4, 0.3), 0)
    with pytest.raises(ValueError, match="step size above 0"):
        trainer().run(np.full(4, -0.3), 1)


def test_sign_steps_are_of_one_size():
    run = trainer(step="sign", scale=0.01).run(np.full(4, 0.3), 3)
    moves = np.diff(run.phi, axis=0)
    np.testing.assert_allclose(moves, -run.grad_sign * 0.01 / np.sqrt([[1], [2], [3]]), rtol=1e-12)
    ended = trainer(steps=300, step="sign", estimator=mg.Reverse(per_task=True, scaling="none"))
    assert np.isnan(ended.run(np.array([0.3, 30.0, 0.3, 0.3]), 3).phi[1:, 1]).all()


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match=r"step is 'sing'.*Did you mean 'sign'"):
        trainer(step="sing")


def test_least_squares_tuned_on_both_objectives():
    """Train: the log of the excess, to its exact minimiser. Validation: by signs, to the smallest loss of a scan."""
    task = mg.random_least_squares(1, 80, 20, sigma=1.0, seed=2, split=0.5)
    sample = least_squares.Regression.of(task.X[0], task.y[0])
    rule = mg.GradientDescent()
    by_train = mg.MetaTrainer(task, rule, mg.LogExcess(), steps=40, scale=0.1).run(0.3, 150)
    assert by_train.phi[-1, 0] == pytest.approx(float(quadratic.minimiser(sample.spectrum, 40)), rel=1e-3)
    validation = mg.LogFinal("validation")
    by_validation = mg.MetaTrainer(task.centred(), rule, validation, steps=40, scale=0.01, step="sign").run(0.3, 400)
    scan = np.geomspace(1e-3, 0.7, 4000)
    losses = least_squares.validation_loss(sample, task.validation[0][0], task.validation[1][0], scan, 40).log
    assert by_validation.phi[-1, 0] == pytest.approx(scan[np.argmin(losses)], abs=2 * 0.01 / np.sqrt(400))
    stuck = mg.MetaTrainer(task, rule, mg.LogFinal("train"), steps=400, scale=0.1).run(0.5, 20)
    assert abs(stuck.phi[-1, 0] - 0.5) < 1e-6, "the floor: the log of the loss itself has no gradient left"


def test_a_schedule_of_least_squares():
    """w_T is symmetric in the step sizes: from equal ones they stay equal; from others the schedule beats them all."""
    task = mg.random_least_squares(1, 40, 10, sigma=1.0, seed=3)
    rule, steps = mg.Scheduled(mg.GradientDescent()), 8
    trainer_ = mg.MetaTrainer(task, rule, mg.LogExcess(), steps=steps, scale=0.3)
    equal = trainer_.run(np.full(steps, 0.3), 50).phi[-1]
    np.testing.assert_allclose(equal, equal[0], rtol=1e-10)
    spread = trainer_.run(np.linspace(0.2, 0.8, steps), 300)
    spectrum = least_squares.Regression.of(task.X[0], task.y[0]).spectrum
    best = quadratic.log_objective(spectrum, quadratic.minimiser(spectrum, steps), steps)
    assert (spread.value_sign * 2.0**spread.value_log2)[-1, 0] < best - 0.1


def test_what_a_task_has_computed_is_no_part_of_the_run(tmp_path):
    """LogExcess makes the task compute its solution; the checkpoint written before still belongs to the same run."""
    task, path = mg.random_least_squares(2, 12, 3, sigma=1.0, seed=4), tmp_path / "run.npz"
    outer = mg.MetaTrainer(task, mg.GradientDescent(), mg.LogExcess(), steps=5)
    outer.run(0.1, 2, checkpoint=path)
    task.train_floor()
    assert outer.run(0.1, 4, checkpoint=path).meta_steps == 4
