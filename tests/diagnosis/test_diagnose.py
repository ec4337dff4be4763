"""The call, the command, the figure and the other dtype: what they take, what they say, and what they write."""

import json
import re

import numpy as np
import pytest

import metagrad as mg
from metagrad.cli import main
from metagrad.diagnosis.growth import rate
from metagrad.errors import Status
from metagrad.xp import move
from tests.cupy_double import double

CONFIG = """
seed = 3
[task]
kind = "regressions"
count = 4
d = 3
[optimizer]
kind = "lstm"
hidden = [4]
[objective]
kind = "mean"
[training]
episodes = 4
horizon = 12
"""
TOPICS = {
    *("status", "regime", "decades a step", "meta-gradient", "plain floats", "the engine", "digits", "reach", "bias"),
    *("memory", "time", "validation objective"),
}


def a_quadratic(**options):
    task = mg.Quadratic(np.diag([0.3, 1.0]), np.array([1.0, -0.6]))
    return mg.diagnose(task, mg.GradientDescent(), mg.LogFinal(), 2.5, steps=60, **options)


@pytest.fixture(scope="module")
def found():
    return a_quadratic()


def test_every_topic_is_in_the_words_the_serious_ones_first(found):
    assert {one.topic for one in found.findings} == TOPICS
    serious = [one.serious for one in found.findings]
    assert serious == sorted(serious, reverse=True)
    assert not found.ok
    for one in found.findings:
        assert one.found
        assert one.change or not one.serious
    assert str(found).startswith("GradientDescent on Quadratic (one task), LogFinal, 60 steps in float64\n! regime")


def test_as_dict_is_json(found):
    numbers = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert numbers["regimes"] == ["exploding"]
    assert numbers["scaled"]["steps"] is None
    assert numbers["tangent"]["value"] == found.tangent.value.tolist()
    assert numbers["findings"][0] == found.findings[0]._asdict()


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_figure(found, tmp_path, suffix, magic):
    path = tmp_path / f"figure{suffix}"
    found.figure(path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_the_figure_names_its_axes_its_rates_and_its_limits(tmp_path):
    path = tmp_path / "figure.svg"
    a_quadratic(dtype="float16").figure(path)
    words = " ".join(re.findall(r"<!-- (.*?) -->", path.read_text()))
    for said in ("step t", "log10 of the largest entry", "state, +0.176 decades a step", "largest float16", "Dotted"):
        assert said in words, (said, words)


def test_a_figure_of_another_kind_is_refused(found, tmp_path):
    with pytest.raises(ValueError, match=r"figure: path is .*figure\.txt; expected a file with one of the suffixes"):
        found.figure(tmp_path / "figure.txt")


def test_the_plans_are_those_of_the_engine(found):
    plans = dict(found.cost.plans)
    assert found.cost.state_bytes == 2 * 8 + 8
    assert (plans["store all"].places, plans["store all"].recomputations) == (60, 0)
    few = plans["one recomputation"]
    assert (few.places, few.recomputations, few.peak_bytes) == (10, 1, 11 * 24)  # n(10, 1) = 67 states, n(9, 1) = 56
    assert plans["default"].recomputations == 0
    assert found.cost.seconds > 0


def test_another_dtype_converts_task_and_phi():
    draw = np.random.default_rng(0)
    task = mg.LeastSquares(draw.standard_normal((20, 3)), draw.standard_normal(20))
    found = mg.diagnose(task, mg.Adam(), mg.Mean("train"), mg.Adam.Phi(np.array(0.1)), steps=20, dtype="float32")
    assert found.dtype == "float32"
    assert task.X.dtype == np.float64  # the task that was given stays as it is
    assert found.digits.value.max() <= -np.log10(np.finfo(np.float32).eps)


def test_a_function_with_data_of_another_dtype_cannot_be_converted():
    data = np.ones(3)
    task = mg.FunctionTask(lambda w: np.sum((w - data) ** 2, axis=-1), np.zeros((1, 3)))
    with pytest.raises(TypeError, match=r"diagnose: dtype is 'float32', but the loss of the FunctionTask"):
        mg.diagnose(task, mg.GradientDescent(), mg.Final(), 0.1, steps=5, dtype="float32")


def test_a_conversion_that_overflows_is_refused():
    task = mg.DiagonalQuadratic(np.array([1e6]), np.ones(1))
    with pytest.raises(ValueError, match="diagnose: dtype is float16, in which an array of the parts overflows"):
        mg.diagnose(task, mg.GradientDescent(), mg.Final(), 1e-6, steps=5, dtype="float16")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"steps": 1}, ValueError, "diagnose: steps is 1; expected an integer of at least 2"),
        ({"steps": 2.5}, TypeError, "diagnose: steps is 2.5"),
        ({"dtype": "float23"}, TypeError, "diagnose: dtype is 'float23'; expected a float dtype"),
        ({"dtype": int}, TypeError, "diagnose: dtype is int64; expected a float dtype"),
        ({"seed": -1}, ValueError, "diagnose: seed is -1"),
        ({"windows": (0,)}, ValueError, "diagnose: windows is 0"),
        ({"objective": mg.Final}, TypeError, r"diagnose: objective is the class Final; expected an instance"),
    ],
)
def test_bad_arguments(options, error, said):
    given = {"objective": mg.Final(), "steps": 10} | options
    task = mg.DiagonalQuadratic(np.ones(1), np.ones(1))
    with pytest.raises(error, match=re.escape(said) if "class" not in said else said):
        mg.diagnose(task, mg.GradientDescent(), phi=0.1, **given)


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_few_steps(steps):
    task = mg.random_quadratics(count=3, d=2, seed=0)
    found = mg.diagnose(task, mg.Momentum(), mg.Mean(), mg.Momentum.Phi(0.01), steps=steps)
    assert set(found.regimes) == {"neutral"}
    assert len(str(found).splitlines()) > len(TOPICS)


def test_meta_parameters_of_task_and_of_time():
    task = mg.LearnedStart(mg.random_quadratics(count=3, d=2, seed=0))
    phi = mg.Joint(rule=np.full(10, 0.01), task=np.ones(2))
    found = mg.diagnose(task, mg.Scheduled(mg.GradientDescent()), mg.Final(), phi, steps=10)
    assert found.cost.kernel == "the tape"
    assert found.status.tolist() == [Status.OK.code] * 3
    assert found.reach > 0


def test_a_device_gives_the_same_diagnosis():
    task, phi = mg.random_quadratics(count=4, d=3, seed=0), mg.GradientDescent.Phi(np.array(0.01))
    given = mg.GradientDescent(), mg.Final()
    here = mg.diagnose(task, *given, phi, steps=20)
    there = mg.diagnose(move(task, double.NAMESPACE), *given, move(phi, double.NAMESPACE), steps=20)
    assert there.image().startswith(b"\x89PNG")
    for name in ("regimes", "plain", "scaled", "trend", "reach", "biases", "steps"):
        assert getattr(here, name) == getattr(there, name), name
    assert np.array_equal(here.tangent.value, there.tangent.value)
    assert json.dumps(there.as_dict(), allow_nan=False)


def test_a_rate_ends_where_the_numbers_do():
    logs = np.arange(40.0)[:, None] * [1.0, -2.0]
    logs[30:, 0], logs[35:, 1] = np.inf, -np.inf
    assert rate(logs).value.round(9).tolist() == [1.0, -2.0]
    assert np.isnan(rate(logs[:2]).value).all()


def test_the_command(tmp_path, capsys):
    config, out = tmp_path / "small.toml", tmp_path / "out"
    config.write_text(CONFIG)
    assert main(["diagnose", str(config), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("CoordinatewiseLSTM on LeastSquares (4 tasks), Mean, 12 steps in float32\n")
    assert "validation objective: unknown" in said
    assert max(map(len, said.split(str(out))[0].splitlines())) <= 80
    assert sorted(path.name for path in out.iterdir()) == ["diagnosis.json", "diagnosis.png"]
    numbers = json.loads((out / "diagnosis.json").read_text())
    assert numbers["steps"] == 12
    assert len(numbers["regimes"]) == 4
    assert (out / "diagnosis.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_with_trained_weights_and_other_steps(tmp_path, capsys):
    config = tmp_path / "small.toml"
    config.write_text(CONFIG.replace("hidden = [4]", ""))
    arguments = ["diagnose", str(config), "--out", str(tmp_path), "--steps", "5", "--optimizer", "lstm_quadratics"]
    assert main(arguments) == 0
    assert "5 steps in float32" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_with_a_config(tmp_path, capsys):
    config = tmp_path / "small.toml"
    config.write_text(CONFIG.replace("regressions", "regression"))
    assert main(["diagnose", str(config), "--out", str(tmp_path)]) == 1
    assert "Did you mean 'regressions'?" in capsys.readouterr().err


def test_a_run_that_was_taken_by_coordinates_keeps_its_record():
    task = mg.DiagonalQuadratic(np.array([1.0, 0.001]), np.ones(2))
    phi = np.repeat([3.0, 0.99], [1200, 200])
    options = {"steps": 1400, "record": True, "trust": 2}
    found = mg.meta_gradient(task, mg.Scheduled(mg.GradientDescent()), mg.Final(), phi, **options)
    assert found.carrier == "entry"
    assert found.record.state.shape == (1401, 1)
    assert [x.shape for x in (found.digits.value, found.digits.gradient, found.status)] == [(1,)] * 3
