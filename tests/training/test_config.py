"""Configs, the command line and trained optimizers: what is said of bad ones; a run is what its config says."""

import json
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_info, threadpool_limits

import metagrad as mg
from metagrad import ad
from metagrad.cli import main
from metagrad.files import read_npz, write_npz
from metagrad.training import Recipe
from metagrad.training.builders import KINDS
from metagrad.training.config import read_config, setup
from metagrad.training.trained import load_trained, save_trained, trained_names

TEXT = """
seed = 3
dtype = "float32"
[task]
kind = "regressions"
count = 4
d = 3
[optimizer]
kind = "lstm"
hidden = [4]
[objective]
kind = "mean"
[outer]
kind = "adam"
eta = 0.01
[training]
episodes = 4
horizon = 6
window = 3
evaluate_every = 2
evaluation_steps = 6
curriculum = [[2, 9]]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return path


def same(x, y):
    return all(np.array_equal(a, b) for a, b in zip(ad.leaves(x), ad.leaves(y), strict=True))


def test_a_config_is_what_it_says(config):
    run = setup(read_config(config))
    assert run.trainer.optimizer == mg.CoordinatewiseLSTM.quadratic((4,))
    assert run.trainer.objective == mg.Mean()
    assert (run.trainer.seed, run.trainer.outer_phi.eta) == (3, 0.01)
    assert run.trainer.recipe.curriculum == ((2, 9),)
    task = run.trainer.tasks(7)
    assert (task.X.shape, task.X.dtype) == ((4, 3, 3), np.float32)
    assert same(task.X, run.trainer.tasks(7).X)
    assert not same(task.X, run.trainer.tasks(8).X)
    assert all(leaf.dtype == np.float32 for leaf in ad.leaves(run.phi))


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("count = 4", "cuont = 4", ValueError, r"'cuont'; expected a key of \[task\].*'count'"),
        ("[training]", "[trainig]", ValueError, "'trainig'; expected a known key.*'training'"),
        ("seed = 3", 'seed = "3"', TypeError, "seed is '3', a str; expected an integer"),
        ("count = 4", 'count = "4"', TypeError, r"\[task\] count is '4', a str; expected an integer"),
        ("eta = 0.01", "eta = true", TypeError, r"\[outer\] eta is True, a bool; expected a number"),
        ("hidden = [4]", "hidden = [4.5]", TypeError, r"\[optimizer\] hidden is 4.5, a float"),
        ('kind = "mean"', 'kind = "maen"', ValueError, r"\[objective\] kind is 'maen'.*'mean'"),
        ('kind = "lstm"', "", ValueError, r"\[optimizer\] kind is None.*lstm"),
        ("window = 3", "window = 0", ValueError, "window is 0"),
        ("episodes = 4", "", ValueError, r"\[training\] episodes is missing"),
        ('dtype = "float32"', 'dtype = "float23"', ValueError, "'float23'.*'float32'"),
        ("[task]", "[task", ValueError, "which is not TOML"),
        ("count = 4", 'count = 4\nfamily = "gausian"', ValueError, "'gausian'.*'gaussian'"),
        ("count = 4", "count = -1", ValueError, r"config: \[task\] count is -1; expected an integer of at least 1"),
        ("\nd = 3", "\nd = 0", ValueError, r"config: \[task\] d is 0; expected an integer of at least 1"),
        ("seed = 3", "seed = -3", ValueError, "seed is -3; expected an integer of at least 0"),
        ("seed = 3", "training = 3", ValueError, "which is not TOML"),
        ("[[2, 9]]", "[[2, 9, 4]]", TypeError, r"curriculum is \[2, 9, 4\], a list; expected a list \[an integer, an"),
        ('kind = "lstm"', 'kind = ["lstm"]', ValueError, r"\[optimizer\] kind is \['lstm'\]"),
        ("eta = 0.01", "eta = nan", ValueError, r"config \[outer\]: eta is nan"),
        ("eta = 0.01", "eta = -0.01", ValueError, r"config \[outer\]: eta is -0\.01; expected a step size above 0"),
    ],
)
def test_bad_configs_name_the_key(config, old, new, error, message):
    config.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(error, match=message):
        setup(read_config(config))


@pytest.mark.parametrize("section", ["task", "optimizer", "objective", "outer", "training"])
def test_a_section_that_is_no_table(section):
    with pytest.raises(TypeError, match=rf"\[{section}\] is 5, a int; expected a table"):
        setup({"task": {"kind": "quadratics"}, "optimizer": {"kind": "lstm"}, "training": {"episodes": 1}, section: 5})
    with pytest.raises(TypeError, match=r"config is .* expected a table"):
        setup([section])


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(ValueError, match="which is a folder; expected a TOML file"):
        read_config(tmp_path)


def test_without_a_finite_evaluation_no_optimizer_is_saved(config, tmp_path, capsys):
    config.write_text(TEXT.replace("eta = 0.01", "eta = 1e30"))
    assert main(["meta-train", str(config), "--out", str(tmp_path)]) == 1
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "optimizer.npz").exists()


def test_meta_train_and_evaluate(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["meta-train", str(config), "--out", str(out)]) == 0
    assert "4 episodes; best final" in capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [len(row["objective"]) for row in rows] == [2, 2, 3, 3]
    first = (out / "optimizer.npz").read_bytes()
    assert main(["meta-train", str(config), "--out", str(out)]) == 0  # nothing left to do
    trained = load_trained(out / "optimizer.npz")
    assert trained.about["episodes"] == 4
    best_so_far = load_trained(out / "checkpoint.npz")
    assert same(trained.phi, best_so_far.phi)
    assert best_so_far.about["evaluation"] == trained.about["evaluation"]
    assert len(first) < 20_000
    capsys.readouterr()
    assert main(["evaluate", str(out / "optimizer.npz"), "--tasks", "3", "--steps", "5"]) == 0
    said = capsys.readouterr().out
    assert "12 fresh tasks, 0 of them not finite at step 5" in said
    assert "mean log10" in said


def test_the_file_of_a_run_is_the_run_from_python(config, tmp_path):
    main(["meta-train", str(config), "--out", str(tmp_path)])
    run = setup(read_config(config))
    assert same(load_trained(tmp_path / "optimizer.npz").phi, run.trainer.run(run.phi).phi)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["meta-train", "nowhere.toml"], "nowhere.toml, which does not exist"),
        (["evaluate", "nowhere.npz"], "nowhere.npz, which does not exist"),
        (["evaluate", "lstm_quadratic"], "'lstm_quadratic'; expected a trained optimizer that ships"),
    ],
)
def test_commands_say_what_is_wrong(arguments, message, capsys):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_the_help_lists_every_key(capsys):
    with pytest.raises(SystemExit):
        main(["meta-train", "--help"])
    listed = " ".join(capsys.readouterr().out.split())
    assert "kind = \"regressions\", count = 128, d = 10, family = \"gaussian\" ('gaussian' or 'uniform')" in listed
    assert "data (needed: 'digits5000' or " in listed
    assert all(f'kind = "{kind}"' in listed for kinds in KINDS.values() for kind in kinds)
    assert all(f" {field.name} " in listed.split("[training]")[-1] for field in fields(Recipe))
    assert " dtype" not in listed.split("[task]")[1]


def test_a_command_computes_in_one_thread_so_that_the_bits_do_not_depend_on_their_number(monkeypatch):
    seen = []

    def look(path):
        seen.extend(library["num_threads"] for library in threadpool_info())
        raise ValueError("seen")

    monkeypatch.setattr("metagrad.cli.meta_train.read_config", look)
    with threadpool_limits(limits=2):
        main(["meta-train", "small.toml"])
    assert set(seen) == {1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "argument --steps: 0; expected an integer of at least 1"),
        (["--steps", "many"], "argument --steps: 'many'; expected an integer of at least 1"),
        (["--tasks", "-2"], "argument --tasks: -2; expected an integer of at least 1"),
        (["--seed", "-1"], "argument --seed: -1; expected an integer of at least 0"),
    ],
)
def test_counts_of_the_command_line(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "lstm_quadratics", *arguments])
    assert message in capsys.readouterr().err


def test_more_steps_than_memory_is_one_line(capsys):
    for steps in (10**14, 10**26):
        assert main(["evaluate", "lstm_quadratics", "--tasks", "1", "--steps", str(steps)]) == 1
        assert f"error: not enough memory (rollout: steps is {steps}, and" in capsys.readouterr().err


def test_the_interval_of_an_evaluation_is_students(config, tmp_path, capsys):
    main(["meta-train", str(config), "--out", str(tmp_path)])
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "optimizer.npz"), "--tasks", "1", "--steps", "2"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ 2 "))
    said = [float(x) for x in row.split("│")[4].split("..")]
    trained = load_trained(tmp_path / "optimizer.npz")
    trainer = setup(trained.config | {"seed": 1}).trainer
    losses = trainer.evaluation_curves(trained.phi, 1, 2, stream="fresh")[2].astype(np.float64)
    expected = stats.t.interval(0.95, len(losses) - 1, losses.mean(), stats.sem(losses))
    np.testing.assert_allclose(said, expected, rtol=1e-4)


def test_a_full_disk_is_one_line(config, tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert main(["meta-train", str(config), "--out", str(tmp_path)]) == 1
    expected = f"error: {tmp_path / 'checkpoint.npz'}: No space left on device; what was saved before stays."
    assert expected in capsys.readouterr().err.replace("\n", "")


def test_a_run_goes_on_with_a_changed_config_where_that_is_asked_for(config, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["meta-train", str(config), "--out", str(out)]
    assert main(command) == 0
    config.write_text(TEXT.replace("eta = 0.01", "eta = 0.001").replace("episodes = 4", "episodes = 6"))
    assert main(command) == 1
    assert "outer_phi.eta 0.01 there, 0.001 here" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--changed", "outer_phi.eta"]) == 0
    assert load_trained(out / "checkpoint.npz").config["outer"]["eta"] == 0.001
    assert main(command) == 0


KILLED = """
import os, signal, sys
from metagrad.training.config import read_config, setup
run = setup(read_config(sys.argv[1]))
kill = lambda row: row["episode"] == 2 and os.kill(os.getpid(), signal.SIGKILL)
run.trainer.run(run.phi, checkpoint=sys.argv[2], metrics=sys.argv[3], progress=kill)
"""


def test_a_killed_run_goes_on_to_the_same_bits(config, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killed.mkdir()
    files = [str(killed / "checkpoint.npz"), str(killed / "metrics.jsonl")]
    found = subprocess.run([sys.executable, "-c", KILLED, str(config), *files], check=False)
    assert found.returncode == -signal.SIGKILL
    assert len((killed / "metrics.jsonl").read_text().splitlines()) == 3  # one after the last checkpoint
    for out in (whole, killed):
        assert main(["meta-train", str(config), "--out", str(out)]) == 0
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    first, second = (load_trained(out / "optimizer.npz") for out in (whole, killed))
    assert same(first.phi, second.phi)
    assert first.about == second.about


def test_an_interrupt_says_how_to_go_on(config, tmp_path, monkeypatch, capsys):
    import metagrad.training.trainer as module

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "rollout", interrupted)
    assert main(["meta-train", str(config), "--out", str(tmp_path)]) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err


def test_a_trained_file_of_another_architecture(tmp_path):
    rule = mg.CoordinatewiseLSTM.quadratic((4,))
    phi = rule.init_meta(np.random.default_rng(0))
    save_trained(tmp_path / "a.npz", rule, phi, config={"optimizer": {"kind": "lstm", "hidden": [5]}})
    said = r"with phi_0 of shape \(5, 16\); expected \(6, 20\), that of phi\.layers\[0\]\.weight of its optimizer"
    with pytest.raises(ValueError, match=said):
        load_trained(tmp_path / "a.npz")


def test_a_trained_file_with_a_weight_that_is_no_number(tmp_path):
    rule = mg.CoordinatewiseLSTM.quadratic((4,))
    phi = rule.init_meta(np.random.default_rng(0), np.float32)
    config = {"optimizer": {"kind": "lstm", "hidden": [4]}}
    save_trained(tmp_path / "a.npz", rule, phi, config=config)
    phi.output[1][:] = np.nan
    with pytest.raises(ValueError, match="finite"):
        save_trained(tmp_path / "a.npz", rule, phi, config=config)
    assert load_trained(tmp_path / "a.npz").optimizer == rule, "the old file stays"
    arrays, text = read_npz(tmp_path / "a.npz", "here")
    write_npz(tmp_path / "a.npz", arrays | {"phi_3": phi.output[1]}, text)
    with pytest.raises(ValueError, match="finite"):
        load_trained(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda phi, text: phi.append(np.zeros(1, np.float32)), ValueError, "with phi_4 beside them"),
        (
            lambda phi, text: phi.insert(0, phi.pop(0).astype(np.float64)),
            TypeError,
            "phi_0 of float64; expected float3",
        ),
        (lambda phi, text: text.pop("about"), ValueError, "no trained optimizer"),
        (lambda phi, text: text.update(config=[1]), ValueError, "no trained optimizer"),
        (lambda phi, text: text["config"].update(dtype="float23"), ValueError, "'float23'.*'float32'"),
        (lambda phi, text: text["config"].update(optimizer=[]), TypeError, "expected a table"),
        (lambda phi, text: text.update(best_value=float("inf"), episode=0), ValueError, "without a finite evaluation"),
    ],
)
def test_an_edited_trained_file(tmp_path, edit, error, message):
    config = {"optimizer": {"kind": "lstm", "hidden": [4]}}
    phi = ad.leaves(mg.CoordinatewiseLSTM.quadratic((4,)).init_meta(np.random.default_rng(0), np.float32))
    text = {"format": 1, "config": config, "about": {}}
    edit(phi, text)
    write_npz(tmp_path / "a.npz", {f"phi_{k}": leaf for k, leaf in enumerate(phi)}, text)
    with pytest.raises(error, match=message):
        load_trained(tmp_path / "a.npz")


def test_every_trained_optimizer_that_ships_loads():
    for name in trained_names():
        trained = load_trained(name)
        assert {"evaluation", "episodes"} <= trained.about.keys()
        assert setup(trained.config).trainer.optimizer == trained.optimizer


HAND_DESIGNED = {
    "sgd": (mg.GradientDescent(), "", ()),
    "momentum": (mg.Momentum(), "mu = 0.5", ("log_eta", "logit_mu")),
    "nesterov": (mg.Nesterov(), 'fixed = ["mu"]', ("log_eta",)),
    "rmsprop": (mg.RMSprop("tensorflow"), 'form = "tensorflow"', ("log_eta", "logit_rho", "log_eps")),
    "adagrad": (mg.Adagrad(), "eps = 1e-4", ("log_eta", "log_eps")),
    "adam": (mg.Adam(), 'beta1 = 0.5\nfixed = ["eps"]', ("log_eta", "logit_beta1", "logit_beta2")),
}


def hand_designed(kind):
    return TEXT.replace('kind = "lstm"\nhidden = [4]', f'kind = "{kind}"\neta = 0.01\n{HAND_DESIGNED[kind][1]}', 1)


@pytest.mark.parametrize("kind", HAND_DESIGNED)
def test_hand_designed_optimizers_are_tuned(kind, config, tmp_path, capsys):
    rule, _, fields = HAND_DESIGNED[kind]
    config.write_text(hand_designed(kind))
    run = setup(read_config(config))
    assert run.trainer.optimizer.rule == rule
    assert run.phi._fields == (fields or ("log_eta",))
    assert {leaf.dtype for leaf in run.phi} == {np.dtype(np.float32)}
    np.testing.assert_allclose(run.phi.log_eta, np.log(0.01), rtol=1e-6)
    assert main(["meta-train", str(config), "--out", str(tmp_path)]) == 0
    assert "\neta = 0.0" in capsys.readouterr().out
    trained = load_trained(tmp_path / "optimizer.npz")
    assert trained.optimizer == run.trainer.optimizer
    assert not same(trained.phi, run.phi)
    assert same(trained.phi, run.trainer.run(run.phi).phi)
    assert same(trained.phi, load_trained(tmp_path / "checkpoint.npz").phi)
    found = trained.optimizer.phi(trained.phi)
    assert main(["evaluate", str(tmp_path / "optimizer.npz"), "--tasks", "2", "--steps", "3"]) == 0
    assert f"eta = {float(found.eta):.6g}" in capsys.readouterr().out


def test_a_hyper_parameter_that_float64_rounds_to_its_bound_is_said(config, tmp_path, capsys):
    """Its coordinate is trained and saved all the same."""
    config.write_text(hand_designed("adam"))
    run = setup(read_config(config))
    far = run.phi._replace(logit_beta2=np.float32(60.0)[...])
    save_trained(tmp_path / "far.npz", run.trainer.optimizer, far, config=run.config)
    assert main(["evaluate", str(tmp_path / "far.npz"), "--tasks", "1", "--steps", "2"]) == 0
    assert "beta2 is 1.0; expected a decay in [0, 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("eta = 0.01", "", ValueError, r"\[optimizer\] eta is missing"),
        ("eta = 0.01", "eta = -0.01", ValueError, r"config \[optimizer\]: eta is -0\.01; expected a step size above 0"),
        ("eta = 0.01", "eta = 1e-100", ValueError, r"log_eta is .* whose eta, above 0, float32 can hold"),
        ("beta1 = 0.5", "beta1 = 1.0", ValueError, r"config \[optimizer\]: beta1 is 1\.0; expected a decay"),
        ("beta1 = 0.5", "beta1 = 0.0", ValueError, r"beta1 is 0\.0; .*hold it with `fixed`"),
        ("beta1 = 0.5", "beta = 0.5", ValueError, r"'beta'; expected a key of \[optimizer\].*'beta1'"),
        ('["eps"]', '["esp"]', ValueError, "fixed is 'esp'.*'eps'"),
        ('["eps"]', '"eps"', TypeError, r"\[optimizer\] fixed is 'eps', a str; expected a list"),
        ('kind = "adam"', 'kind = "adma"', ValueError, r"\[optimizer\] kind is 'adma'.*'adam'"),
    ],
)
def test_bad_configs_of_hand_designed_optimizers(config, old, new, error, message):
    config.write_text(hand_designed("adam").replace(old, new, 1))
    with pytest.raises(error, match=message):
        setup(read_config(config))


def test_the_config_that_ships_tunes_all_of_adam():
    run = setup(read_config(Path(__file__).parents[2] / "configs" / "adam_quadratics.toml"))
    assert run.phi._fields == ("log_eta", "logit_beta1", "logit_beta2", "log_eps")
    assert run.trainer.recipe.gradient == "full"
    task = run.trainer.tasks(0)
    start = run.trainer.optimizer.phi(run.phi)
    np.testing.assert_allclose(start, (0.1, 0.9, 0.999, 1e-8), rtol=1e-13)
    found = mg.meta_gradient(task, run.trainer.optimizer, run.trainer.objective, run.phi, steps=20)
    assert found.ok
    assert float(found.grad.log_eta.to_float()) < 0, "from there the step size has to grow"
