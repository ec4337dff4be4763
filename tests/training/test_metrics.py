"""Metrics: plain JSON that anything can plot, and columns with the very numbers that were measured."""

import json

import numpy as np
import pytest

import metagrad as mg
from metagrad.training import Recipe, Trainer, read_metrics
from metagrad.training.metrics import Log, go_on
from tests.training.small_run import PHI, SMALL, trainer

ROW = {
    "episode": 0,
    "objective": [1.5, np.inf],
    "log2_gradient_norm": [-2.0, -np.inf],
    "clipped": 1,
    "nonfinite": True,
    "status": {"OK": 3, "STATE_NAN": 1},
    "evaluation": np.nan,
    "best": np.inf,
}


class Wild:
    """Every second task is too stiff for the step size."""

    def __init__(self, seed):
        self.c = 40.0 if seed % 2 else 1.0

    def init(self, rng):
        return np.full((2, 3), 1.0)

    def loss(self, w, sample):
        return np.sum(0.5 * w**2 + self.c * w**4, axis=-1)


@pytest.fixture
def wild(tmp_path):
    rows, path = [], tmp_path / "m.jsonl"
    free = mg.Unconstrained(mg.GradientDescent(), mg.GradientDescent.Phi(0.05))
    recipe = Recipe(episodes=8, horizon=20, window=20, gradient="full", evaluate_every=4, evaluation_steps=20)
    Trainer(free, Wild, mg.Final(), recipe).run(free.init_meta(None), metrics=path, progress=rows.append)
    return path, rows


def test_a_plot_has_numbers_on_its_axis(wild):
    """What is no number used to be a text, of which matplotlib makes categories without a word."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    path, measured = wild
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    y = [row["objective"][0] for row in rows]
    assert None in y
    assert not any(isinstance(x, str) for x in y)
    figure, axes = plt.subplots()
    (line,) = axes.plot([row["episode"] for row in rows], y)
    assert axes.yaxis.get_converter() is None  # that of texts makes categories
    plotted = np.asarray(line.get_ydata(), dtype=float)
    plt.close(figure)
    expected = np.array([row["objective"][0] for row in measured])
    np.testing.assert_array_equal(plotted, np.where(np.isfinite(expected), expected, np.nan))


def test_every_number_comes_back(wild):
    path, rows = wild
    found = read_metrics(path)
    assert not np.isfinite(found["objective"]).all()
    for name in ("objective", "log2_gradient_norm"):
        np.testing.assert_array_equal(found[name], [row[name] for row in rows])
    np.testing.assert_array_equal(found["evaluated"], ["evaluation" in row for row in rows])
    for name in ("evaluation", "best"):
        np.testing.assert_array_equal(found[name], [row.get(name, np.nan) for row in rows])
    assert np.array_equal(found["nonfinite"], [row["nonfinite"] for row in rows])
    statuses = [found[name] for name in found if name.startswith("status.")]
    assert np.array_equal(np.sum(statuses, axis=0), [sum(row["status"].values()) for row in rows])


def test_what_null_was_is_said_in_the_line(tmp_path):
    path = tmp_path / "m.jsonl"
    Log(path).append(ROW)
    row = json.loads(path.read_text())
    assert row["objective"] == [1.5, None]
    assert row["nulls"] == {"objective[1]": "inf", "log2_gradient_norm[1]": "-inf", "evaluation": "nan", "best": "inf"}
    found = read_metrics(path)
    np.testing.assert_array_equal(found["objective"], [[1.5, np.inf]])
    np.testing.assert_array_equal(found["log2_gradient_norm"], [[-2.0, -np.inf]])
    assert np.isnan(found["evaluation"][0])
    assert found["best"][0] == np.inf


def test_lines_of_finite_numbers_have_no_nulls(tmp_path):
    path = tmp_path / "m.jsonl"
    trainer().run(PHI, metrics=path)
    assert "nulls" not in path.read_text()
    found = read_metrics(path)
    assert found["episode"].tolist() == list(range(SMALL.episodes))
    assert found["windows"].tolist() == [3] * SMALL.episodes
    assert found["status.OK"].tolist() == [9] * SMALL.episodes


def test_episodes_with_fewer_windows_end_in_nan(tmp_path):
    path = tmp_path / "m.jsonl"
    log = Log(path)
    for episode, objective in enumerate(([1.0], [2.0, 3.0])):
        log.append(ROW | {"episode": episode, "objective": objective, "log2_gradient_norm": objective})
    found = read_metrics(path)
    assert found["windows"].tolist() == [1, 2]
    np.testing.assert_array_equal(found["objective"], [[1.0, np.nan], [2.0, 3.0]])


def test_a_line_that_a_killed_run_left_half_is_no_row(tmp_path):
    path = tmp_path / "m.jsonl"
    log = Log(path)
    for episode in range(3):
        log.append(ROW | {"episode": episode})
    path.write_bytes(path.read_bytes()[:-20])
    assert read_metrics(path)["episode"].tolist() == [0, 1]
    go_on(path, "here", 2, None).append(ROW | {"episode": 2})
    assert read_metrics(path)["episode"].tolist() == [0, 1, 2]


def test_an_empty_file_has_empty_columns(tmp_path):
    Log(tmp_path / "m.jsonl")
    found = read_metrics(tmp_path / "m.jsonl")
    assert found["objective"].shape == (0, 0)
    assert found["episode"].size == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", "["),
        ('"episode": 0', '"episode": "0"'),
        ("1.5", '"nan"'),
        ("1.5, null", "1.5, 2.5"),
        ('"objective[1]": "inf"', '"objective[1]": "huge"'),
        ('"objective[1]": "inf"', '"objective[7]": "inf"'),
        ('"objective[1]": "inf", ', ""),
        ('"objective": [1.5, null]', '"objective": [1.5]'),
        ('"clipped": 1, ', ""),
    ],
)
def test_what_is_no_row_is_named(tmp_path, old, new):
    path = tmp_path / "m.jsonl"
    log = Log(path)
    log.append(ROW)
    log.append(ROW)
    first, second, _ = path.read_text().split("\n")
    assert old in second
    path.write_text(f"{first}\n{second.replace(old, new, 1)}\n")
    with pytest.raises(ValueError, match=r"read_metrics: path is .*m\.jsonl, whose line 2 is no row of metrics"):
        read_metrics(path)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jsonl, which does not exist"):
        read_metrics(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, which does not exist"):
        read_metrics(tmp_path)
    (tmp_path / "m.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="which cannot be read"):
        read_metrics(tmp_path / "m.jsonl")


def test_the_folder_of_a_run(tmp_path):
    Log(tmp_path / "metrics.jsonl").append(ROW)
    found, expected = read_metrics(str(tmp_path)), read_metrics(tmp_path / "metrics.jsonl")
    assert found["episode"].size == 1
    assert found.keys() == expected.keys()


def test_the_table_is_not_the_lines(tmp_path):
    Log(tmp_path / "run.jsonl").append(ROW)
    with pytest.raises(ValueError, match=r"Give run\.jsonl beside it, or read the table with csv or pandas\.$"):
        read_metrics(tmp_path / "run.csv")
