"""Runs on disk, side by side: read, gathered over seeds with intervals, drawn."""

import json

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats

from metagrad import files
from metagrad.training import plot_runs, read_metrics, setup
from metagrad.training.metrics import Log
from metagrad.training.runs.gather import differing, gather, spread
from metagrad.training.runs.read import read_runs
from tests.training.test_metrics import ROW

mpl.use("Agg")
import matplotlib.pyplot as plt

CONFIG = {
    "seed": 0,
    "task": {"kind": "quadratics", "count": 2, "d": 2},
    "optimizer": {"kind": "sgd", "eta": 0.01},
    "objective": {"kind": "last"},
    "outer": {"kind": "adam", "eta": 0.1},
    "training": {"episodes": 6, "horizon": 4, "window": 4, "evaluate_every": 2, "evaluation_steps": 4},
}


def write(folder, *, stop=None, **changes):
    """Write the run of a config in a folder, as meta-train does, up to an episode."""
    folder.mkdir()
    config = json.loads(json.dumps(CONFIG))
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (config[section] if section else config)[key] = value
    run = setup(config)

    def progress(row):
        if row["episode"] == stop:
            raise KeyboardInterrupt

    try:
        files_of = {"checkpoint": folder / "checkpoint.npz", "metrics": folder / "metrics.jsonl"}
        run.trainer.run(run.phi, **files_of, config=config, progress=progress)
    except KeyboardInterrupt:
        pass
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of two seeds of one setting, and three of another."""
    root = tmp_path_factory.mktemp("runs")
    few = [write(root / f"few-{seed}", seed=seed) for seed in (0, 1)]
    return few + [write(root / f"large-{seed}", seed=seed, outer__eta=0.2) for seed in (0, 1, 2)]


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def evaluations(folder):
    columns = read_metrics(folder / "metrics.jsonl")
    return columns["evaluation"][columns["evaluated"]]


def lines(axes):
    """Return the lines with a place in the legend, by their label, and how many others there are."""
    labels = axes.get_legend_handles_labels()[1]
    return labels, sum(str(line.get_label()).startswith("_child") for line in axes.lines)


def test_a_run_has_its_settings_and_its_time(runs):
    (run,) = read_runs("here", runs[0])
    assert (run.name, run.seed, run.episodes, run.asked) == ("few-0", 0, 6, 6)
    assert run.seconds > 0
    y = evaluations(runs[0])
    assert run.best == (y.min(), 2 * int(np.argmin(y)) + 2)
    assert run.measured("evaluation") == "final loss"
    (again,) = read_runs("here", [runs[0] / "metrics.jsonl"])
    assert again.config == run.config


def test_runs_that_differ_in_the_seed_alone_are_gathered(runs):
    groups = gather(read_runs("here", runs))
    assert [len(group.runs) for group in groups] == [2, 3]
    assert [group.label for group in groups] == ["outer.eta = 0.1 (2 seeds)", "outer.eta = 0.2 (3 seeds)"]
    assert differing(read_runs("here", runs[1:3])) == [
        {"seed": "1", "outer.eta": "0.1"},
        {"seed": "0", "outer.eta": "0.2"},
    ]


def test_runs_are_called_by_what_differs(runs, tmp_path):
    def labels(*paths):
        return [group.label for group in gather(read_runs("here", list(paths)))]

    assert labels(runs[0], runs[2]) == ["outer.eta = 0.1", "outer.eta = 0.2"]
    assert labels(runs[0], runs[3]) == ["outer.eta = 0.1 (seed 0)", "outer.eta = 0.2 (seed 1)"]
    assert labels(runs[0]) == ["few-0"]
    assert labels(runs[0], runs[1]) == ["few-0 and 1 other seed"]
    assert labels(*runs[2:]) == ["large-0 and 2 other seeds"]
    other = write(tmp_path / "other", outer__eta=0.3, task__d=3, training__window=2)
    assert labels(runs[0], other) == ["few-0", "other"], "with many settings the folders are shorter"
    same = write(tmp_path / "few-0", outer__eta=0.3, task__d=4, training__window=2)
    assert labels(runs[0], same) == [f"{runs[0]} (1)", f"{same} (1)"], "two of one name"


def test_the_line_is_the_mean_and_the_bars_are_students_interval(runs, axes):
    assert plot_runs(runs[2:], ax=axes, scale="linear") is axes
    table = np.stack([evaluations(folder) for folder in runs[2:]])
    (bars,) = axes.containers
    line, _, (segments,) = bars.lines
    np.testing.assert_array_equal(line.get_xdata(), [2, 4, 6])
    np.testing.assert_allclose(line.get_ydata(), table.mean(axis=0))
    expected = stats.t.interval(0.95, 2, table.mean(axis=0), stats.sem(table, axis=0))
    np.testing.assert_allclose([s[:, 1] for s in segments.get_segments()], np.transpose(expected))
    thin = [line.get_ydata() for line in axes.lines if line.get_linewidth() < 1 and len(line.get_xdata()) == 3]
    for one in table:
        assert any(np.array_equal(one, y) for y in thin), "each seed is there too"


def test_on_a_logarithmic_scale_the_mean_is_that_of_the_logarithms(runs, axes):
    plot_runs(runs[2:], ax=axes, scale="log")
    table = np.log([evaluations(folder) for folder in runs[2:]])
    np.testing.assert_allclose(axes.containers[0].lines[0].get_ydata(), np.exp(table.mean(axis=0)))
    assert axes.get_yscale() == "log"


def test_axes_are_labelled_and_lines_differ_in_grey(runs, axes):
    plot_runs(runs, ax=axes)
    assert axes.get_xlabel() == "episodes done"
    assert axes.get_ylabel() == "final loss of the evaluation tasks"
    labels, _ = lines(axes)
    assert labels == [f"outer.eta = {eta} ({n} seeds), mean and 95 % interval" for eta, n in ((0.1, 2), (0.2, 3))]
    main = [container.lines[0] for container in axes.containers]
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in main]
    assert all(a != b for a, b in zip(*looks, strict=True))


def test_a_run_of_one_seed_has_no_interval(runs, axes):
    plot_runs(runs[0], ax=axes)
    assert not axes.containers
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), evaluations(runs[0]))
    found = spread([(np.arange(3), np.ones(3))], logarithmic=False)
    assert np.isnan(found.low).all()


def test_a_run_under_way_is_drawn_as_far_as_it_is(runs, tmp_path, axes):
    """The mean goes as far as all seeds do."""
    short = write(tmp_path / "short", seed=7, stop=3)
    plot_runs([*runs[:2], short], ax=axes)
    assert axes.containers[0].lines[0].get_xdata().tolist() == [2, 4]


@pytest.mark.parametrize(
    ("what", "label"), [("objective", "meta-objective in training"), ("gradient", "log10 of the norm")]
)
def test_the_objective_and_the_gradient_of_training(runs, axes, what, label):
    plot_runs(runs[0], what=what, ax=axes)
    columns = read_metrics(runs[0] / "metrics.jsonl")
    expected = columns["objective"][:, 0] if what == "objective" else columns["log2_gradient_norm"][:, 0] * np.log10(2)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), expected)
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert label in axes.get_ylabel()


def test_a_long_curve_is_drawn_by_means_and_says_so(tmp_path, axes):
    log = Log(tmp_path / "m.jsonl")
    for episode in range(1001):
        log.append(ROW | {"episode": episode, "objective": [float(episode), 1.0], "log2_gradient_norm": [0.0, 0.0]})
    plot_runs(tmp_path / "m.jsonl", what="objective", ax=axes, scale="linear")
    y = axes.lines[0].get_ydata()
    each = np.arange(1001) / 2 + 0.5
    assert len(y) == 201
    np.testing.assert_allclose(y[:200], each[:1000].reshape(200, 5).mean(axis=1))
    assert y[200] == each[1000]
    assert axes.get_xlabel() == "episodes done (means of 5 episodes)"


def test_what_is_not_finite_is_a_gap_and_is_counted(tmp_path, runs, axes):
    log = Log(tmp_path / "m.jsonl")
    for episode, value in enumerate([1.0, np.inf, 2.0, np.nan]):
        log.append(ROW | {"episode": episode, "evaluation": value})
    plot_runs(tmp_path / "m.jsonl", ax=axes)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, np.nan, 2.0, np.nan])
    assert lines(axes)[0] == ["m; 2 not finite"]
    found = spread([(np.arange(2), np.array([1.0, np.inf])), (np.arange(2), np.ones(2))], logarithmic=False)
    np.testing.assert_array_equal(found.mean, [1.0, np.nan])


def test_a_long_name_is_folded_in_the_legend(tmp_path, axes):
    path = tmp_path / f"{'a-name-of-many-words ' * 8}.jsonl"
    Log(path).append(ROW | {"evaluation": 1.0})
    plot_runs(path, ax=axes)
    (label,) = lines(axes)[0]
    assert max(map(len, label.split("\n"))) <= 64
    assert label.replace("\n", " ").startswith("a-name-of-many-words a-name")


def test_one_run_twice_would_make_the_interval_too_small(runs, axes):
    with pytest.raises(ValueError, match=r"runs is .*few-0 and .*few-0, of the same settings and the same seed 0"):
        plot_runs([runs[0], runs[0]], ax=axes)


def test_runs_that_measured_different_things_are_not_drawn_together(runs, tmp_path, axes):
    other = write(tmp_path / "other", training__select="mean")
    with pytest.raises(ValueError, match=r"runs that measured final loss and mean loss.*Plot them apart"):
        plot_runs([runs[0], other], ax=axes)
    plot_runs([runs[0], other], what="gradient", ax=axes)


def test_changed_settings_are_another_run(runs, tmp_path):
    """One that went on with another step size is no second seed of one that had it from the start."""
    folder = write(tmp_path / "changed", seed=5, stop=3)
    config = json.loads(json.dumps(CONFIG)) | {"seed": 5, "outer": {"kind": "adam", "eta": 0.2}}
    run = setup(config)
    files_of = {"checkpoint": folder / "checkpoint.npz", "metrics": folder / "metrics.jsonl"}
    run.trainer.run(run.phi, **files_of, config=config, changed=("outer_phi.eta",))
    assert [len(group.runs) for group in gather(read_runs("here", [runs[2], folder]))] == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("few-9", r"few-9, which does not exist; .*Did you mean 'few-\d'"),
        ("few-0/checkpoint.npz", "checkpoint.npz; expected a folder of meta-train, or its metrics.jsonl"),
        ("few-0/metrics.csv", "metrics.csv; expected a folder of meta-train"),
        (".", r"a folder without metrics\.jsonl; .*The runs in it are few-0, few-1, large-0"),
    ],
)
def test_what_is_no_run_is_named(runs, given, message):
    with pytest.raises(ValueError, match=message):
        plot_runs(runs[0].parent / given)


def test_nothing_to_draw_yet(tmp_path, axes):
    log = Log(tmp_path / "m.jsonl")
    log.append({name: x for name, x in ROW.items() if name not in ("evaluation", "best")})
    with pytest.raises(ValueError, match="where there is no evaluation yet"):
        plot_runs(tmp_path / "m.jsonl", ax=axes)
    with pytest.raises(ValueError, match="runs is empty"):
        plot_runs([])
    with pytest.raises(ValueError, match="some numbers are not above 0"):
        plot_runs(tmp_path / "m.jsonl", what="gradient", scale="log", ax=axes)


def test_an_edited_checkpoint_is_named(runs, tmp_path):
    arrays, about = files.read_npz(runs[0] / "checkpoint.npz", "here", formats=(3,))
    (tmp_path / "metrics.jsonl").write_bytes((runs[0] / "metrics.jsonl").read_bytes())
    for edited in ({"config": 3}, {"changes": 3}, {"episode": None}, {"seconds": "long"}, {"config": {"seed": "3"}}):
        files.write_npz(tmp_path / "checkpoint.npz", arrays, about | edited)
        with pytest.raises((ValueError, TypeError), match=r"checkpoint\.npz, (which|whose config) was edited"):
            plot_runs(tmp_path)


def test_without_a_config_each_run_is_its_own(runs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes((runs[0] / "metrics.jsonl").read_bytes())
    groups = gather(read_runs("here", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]))
    assert [group.label for group in groups] == ["a", "b"]
