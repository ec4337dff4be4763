"""What a MetaRun tells: columns by the names of the meta-parameters, a table, a plot, and itself in one line."""

import csv
import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

import metagrad as mg
from metagrad.training.csv_lines import csv_line

mpl.use("Agg")
import matplotlib.pyplot as plt

TASKS = mg.random_quadratics(3, 2, seed=0)


def momentum(meta_steps=4, **more):
    trainer = mg.MetaTrainer(TASKS, mg.Momentum(), mg.LogFinal(), steps=5, **more)
    return trainer.run(mg.Momentum.Phi(0.1, 0.5), meta_steps)


def a_task(eta, objective=None, steps=5, meta_steps=3, **more):
    estimator = mg.Reverse(per_task=True, **more)
    trainer = mg.MetaTrainer(TASKS, mg.GradientDescent(), objective or mg.Final(), steps, estimator=estimator)
    return trainer.run(np.asarray(eta), meta_steps)


def network():
    rule = mg.CoordinatewiseLSTM.quadratic((2,))
    trainer = mg.MetaTrainer(TASKS, rule, mg.Final(), steps=3, scale=1e-4)
    return trainer.run(rule.init_meta(np.random.default_rng(0)), 2)


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_columns_have_the_names_of_the_meta_parameters():
    run = momentum()
    found = run.named()
    assert list(found) == ["eta", "mu"]
    assert np.array_equal(found["mu"], run.phi[:, 1])
    assert np.array_equal(run.named("grad_log2")["eta"], run.grad_log2[:, 0])
    assert run.named("projected")["eta"].shape == (4,)


def test_a_column_has_the_shape_of_its_leaf():
    run = network()
    start = mg.CoordinatewiseLSTM.quadratic((2,)).init_meta(np.random.default_rng(0))
    found = run.named()
    assert np.array_equal(found["layers[0].weight"][0], start.layers[0].weight)
    assert sum(x[0].size for x in found.values()) == run.phi.shape[1] == len(run.names)
    assert np.array_equal(np.concatenate([x.reshape(3, -1) for x in found.values()], axis=1), run.phi)
    assert a_task([0.1, 0.2, 0.3]).named()["eta"].shape == (4, 3)


def test_trees_of_dicts_and_a_joint_are_named_too():
    rule = mg.Grouped({"all": mg.Momentum()}, lambda path: "all")
    run = mg.MetaTrainer(TASKS, rule, mg.Final(), steps=3).run({"all": mg.Momentum.Phi(0.1, 0.5)}, 1)
    assert list(run.named()) == ["phi['all'].eta", "phi['all'].mu"]
    learned = mg.LearnedStart(mg.FunctionTask(lambda w: np.sum(w * w, axis=-1), np.ones((2, 3))))
    run = mg.MetaTrainer(learned, mg.GradientDescent(), mg.Final(), steps=3).run(mg.Joint(0.1, np.ones(3)), 2)
    assert {name: x.shape for name, x in run.named().items()} == {"rule.eta": (3,), "task": (3, 3)}


def test_a_column_that_there_is_not():
    with pytest.raises(ValueError, match=r"MetaRun\.named: column is 'ph'.*Did you mean 'phi'"):
        momentum(1).named("ph")


def test_a_checkpoint_gives_the_names_too(tmp_path):
    trainer = mg.MetaTrainer(TASKS, mg.Momentum(), mg.LogFinal(), steps=5)
    start = mg.Momentum.Phi(0.1, 0.5)
    trainer.run(start, 2, checkpoint=tmp_path / "a.npz")
    resumed = trainer.run(start, 4, checkpoint=tmp_path / "a.npz")
    assert np.array_equal(resumed.named()["eta"], momentum().named()["eta"])


def test_the_table_reads_back_to_the_same_numbers(tmp_path):
    run = momentum()
    run.to_csv(tmp_path / "run.csv")
    rows = table(tmp_path / "run.csv")
    assert [row["meta_step"] for row in rows] == list("01234")
    assert np.array_equal([[float(row[name]) for name in run.names] for row in rows], run.phi)
    values = run.value_sign * 2.0**run.value_log2
    told = [float(row["objective_sign"]) * 10 ** float(row["objective_log10"]) for row in rows[:-1]]
    np.testing.assert_allclose(told, values.mean(axis=1), rtol=1e-12)
    norms = np.linalg.norm(2.0**run.grad_log2, axis=1)
    np.testing.assert_allclose([10 ** float(row["gradient_log10"]) for row in rows[:-1]], norms, rtol=1e-12)
    assert [row["status"] for row in rows] == ["OK"] * 4 + [""]
    assert {rows[-1][name] for name in ("objective_sign", "objective_log10", "gradient_log10", "skipped")} == {""}


def test_numbers_beyond_floats_and_nan_in_the_table(tmp_path):
    huge = mg.MetaTrainer(TASKS, mg.GradientDescent(), mg.Final(), steps=2000).run(30.0, 1)
    huge.to_csv(tmp_path / "huge.csv")
    row = table(tmp_path / "huge.csv")[0]
    assert float(row["objective_log10"]) > 5000
    assert row["projected"] == "1"
    lost = a_task([0.1, 30.0, 0.1], steps=2000, scaling="none")
    lost.to_csv(tmp_path / "lost.csv")
    rows = table(tmp_path / "lost.csv")
    assert rows[0]["status"].startswith("OK;")
    assert [row["eta[1]"] for row in rows] == ["30.0", "", "", ""]
    assert "nan" not in (tmp_path / "lost.csv").read_text()


def test_a_table_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"MetaRun\.to_csv: path is .*none.*Make the folder first"):
        momentum(1).to_csv(tmp_path / "none" / "run.csv")


def test_cells_of_a_line():
    cells = [np.float32(0.5), np.int64(3), np.bool_(False), np.float64("nan"), np.inf, "a, b"]
    assert csv_line(cells) == b'0.5,3,0,,inf,"a, b"\n'


def test_the_objective_is_drawn_with_the_range_of_the_tasks(axes):
    run = momentum()
    assert run.plot(ax=axes) is axes
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), (run.value_sign * 2.0**run.value_log2).mean(axis=1), rtol=1e-12)
    assert line.get_xdata().tolist() == [0, 1, 2, 3]
    assert [x.get_text() for x in axes.get_legend().get_texts()] == ["range of 3 tasks", "mean over tasks"]
    assert axes.get_xlabel()
    assert axes.get_ylabel()


def test_meta_parameters_are_drawn_by_name(axes):
    run = momentum()
    run.plot("phi", ax=axes)
    assert [line.get_label() for line in axes.lines] == ["eta", "mu"]
    assert np.array_equal(axes.lines[1].get_ydata(), run.phi[:, 1])
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines]
    assert all(a != b for a, b in zip(*looks, strict=True)), "shade, dash and marker differ: grey tells them apart"


def test_chosen_leaves_and_leaves_of_many_numbers(axes):
    network().plot("phi", names=["output.weight", "layers[0].weight"], ax=axes)
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["layers[0].weight: median and middle 80 % of 24", "output.weight: median and middle 80 % of 2"]
    with pytest.raises(ValueError, match=r"MetaRun\.plot: names is 'output\.wieght'.*Did you mean 'output\.weight'"):
        network().plot("phi", names=["output.wieght"])


def test_what_is_beyond_floats_is_drawn_by_its_logarithm(axes):
    run = mg.MetaTrainer(TASKS, mg.GradientDescent(), mg.Final(), steps=2000).run(30.0, 2)
    run.plot(ax=axes)
    assert "log10" in axes.get_ylabel()
    assert axes.lines[0].get_ydata()[0] > 5000


def test_steps_with_trouble_are_marked(axes):
    a_task([0.1, 2.0, 0.1], steps=9).plot(ax=axes)
    assert len(axes.lines) == 1, "there was none"
    axes.clear()
    run = a_task([0.1, 2.0, 0.1], mg.Final(), steps=40, meta_steps=1, scaling="none")
    run = replace(run, status=run.status + 1)
    assert np.isfinite(run.value_log2).all()
    run.plot(ax=axes)
    assert axes.lines[1].get_label() == "a status other than OK"


def test_no_axes_makes_a_figure():
    axes = momentum(1).plot()
    assert axes.figure.axes == [axes]
    plt.close(axes.figure)


@pytest.mark.parametrize("ax", [3, "axes", plt, mpl.axes.Axes])
def test_what_is_no_axes(ax):
    with pytest.raises(TypeError, match=r"MetaRun\.plot: ax is .*expected matplotlib axes"):
        momentum(1).plot(ax=ax)


def test_it_says_itself_in_one_line():
    run = momentum()
    said = repr(run)
    assert said.startswith("MetaRun(4 meta-steps on 3 tasks; eta 0.1 -> ")
    assert f"mu 0.5 -> {run.phi[-1, 1]:.4g}; objective " in said
    assert said.endswith("; OK)")
    assert "101" not in said
    assert "meta-parameters" in repr(network())
    lost = repr(a_task([0.1, 30.0, 0.1], steps=2000, scaling="none"))
    assert "status in 3 of 3 steps" in lost
    assert all(len(text) < 160 for text in (said, lost))


def test_a_run_does_not_load_matplotlib():
    code = (
        "import sys, numpy as np, metagrad as mg; "
        "run = mg.MetaTrainer(mg.Quadratic(np.eye(2), np.ones(2)), mg.Momentum(), mg.Final(), 2)"
        ".run(mg.Momentum.Phi(0.1, 0.5), 1); run.named(); repr(run); print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_last_meta_parameters_are_a_tree_like_the_first():
    task = mg.random_quadratics(3, 2, seed=0)
    per_task = mg.MetaTrainer(task, mg.Momentum(), mg.Final(), 5, estimator=mg.Reverse(per_task=True))
    phi = mg.Momentum.Phi(np.full(3, 0.01), np.full(3, 0.5))
    run = per_task.run(phi, 3)
    assert isinstance(run.last, mg.Momentum.Phi)
    assert run.last.eta.shape == (3,)
    assert (np.concatenate(run.last) == run.phi[-1]).all()
