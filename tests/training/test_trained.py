"""Files of meta-parameters that were trained in Python, without a config: any tree, back to the same numbers."""

import sys
from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.cli import main
from metagrad.files import read_npz, write_npz
from metagrad.training import Recipe, Trainer
from metagrad.training.trained import trained_names
from tests.training.small_run import quadratics, same


class Weights(NamedTuple):
    W: np.ndarray
    b: list


class Net:
    """A rule whose meta-parameters are dicts, lists and NamedTuples."""

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        g = f.gradient(w) @ phi["layer"].W + phi["layer"].b[0]
        return w - phi["eta"] * g, state


def tree(dtype=np.float64, n=2):
    return {"layer": Weights(np.eye(n, dtype=dtype), [np.zeros(n, dtype)]), "eta": np.asarray(0.1, dtype), "none": None}


def make(n=2):
    return Net(), tree(n=n)


def test_any_tree_comes_back(tmp_path):
    phi = ad.tree_map(lambda x: x + 0.25, tree())
    mg.save_trained(tmp_path / "a.npz", Net(), phi, about={"by": "hand", "values": [1, 2.5]})
    rule = Net()
    for found in (
        mg.load_trained(tmp_path / "a.npz", make=make),
        mg.load_trained(tmp_path / "a.npz", template=(rule, tree())),
    ):
        assert ad.paths(found.phi) == ["['eta']", "['layer'].W", "['layer'].b[0]"]
        assert same(found.phi, phi)
        assert found.phi["none"] is None
        assert isinstance(found.phi["layer"], Weights)
        assert found.config is None
        assert found.about == {"by": "hand", "values": [1, 2.5]}
    assert found.optimizer is rule
    task = quadratics(1)
    assert same(mg.rollout(task, Net(), phi, steps=5), mg.rollout(task, rule, found.phi, steps=5))


@pytest.mark.parametrize("rule", [mg.Momentum(), mg.GradientDescent()])
def test_the_numbers_of_hand_designed_rules_stay_of_their_kind(tmp_path, rule):
    path = tmp_path / "a.npz"
    for number in (0.1, np.float32(0.1), np.asarray(0.1, np.float32)):
        phi = rule.Phi(*[number] * len(rule.Phi._fields))
        mg.save_trained(path, rule, phi)
        found = mg.load_trained(path, template=(rule, phi)).phi
        assert found == phi
        assert np.asarray(found.eta).dtype == np.asarray(number).dtype
    mg.save_trained(path, mg.GradientDescent(), 0.5)
    assert mg.load_trained(path, template=(mg.GradientDescent(), 1.0)).phi == mg.GradientDescent.Phi(0.5)
    assert mg.load_trained(path, make=lambda: (mg.GradientDescent(), 1.0)).phi.eta.dtype == np.float64


def test_a_learned_rule_with_init_meta_in_the_dtype_of_the_file(tmp_path):
    rule = mg.CoordinatewiseLSTM.quadratic((4,))
    for dtype in (np.float32, np.float64):
        phi = rule.init_meta(np.random.default_rng(1), dtype)
        mg.save_trained(tmp_path / "a.npz", rule, phi)
        found = mg.load_trained(tmp_path / "a.npz", make=lambda: mg.CoordinatewiseLSTM.quadratic((4,)))
        assert same(found.phi, phi)
        assert found.phi.output[0].dtype == dtype


def test_the_checkpoint_of_a_run_without_a_config(tmp_path):
    recipe = Recipe(episodes=2, horizon=4, window=2, evaluate_every=1, evaluation_steps=3)
    run = Trainer(Net(), quadratics, mg.LogFinal(), recipe)
    result = run.run(tree(), checkpoint=tmp_path / "checkpoint.npz")
    with pytest.raises(ValueError, match="was made in Python, without a config, and no file has code imported"):
        mg.load_trained(tmp_path / "checkpoint.npz")
    for more in ({"make": make}, {"template": make()}):
        found = mg.load_trained(tmp_path / "checkpoint.npz", **more)
        assert same(found.phi, result.phi)
        assert found.about == {"evaluation": result.value, "episodes": 2}


def test_the_command_evaluates_it_with_a_config(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_net.py").write_text(
        "from metagrad import GradientDescent\n\n\ndef make():\n    return GradientDescent(), 1.0\n"
    )
    text = 'dtype = "float64"\n[task]\nkind = "quadratics"\ncount = 2\n[training]\nepisodes = 1\n[optimizer]\n'
    (tmp_path / "a.toml").write_text(text + 'kind = "own_net:make"\n')
    mg.save_trained(tmp_path / "a.npz", mg.GradientDescent(), np.float64(0.01))
    assert main(["evaluate", str(tmp_path / "a.npz")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "was made in Python (a metagrad.optimizers.hand.gradient_descent.GradientDescent), without a config" in said
    before = list(sys.path)
    command = ["evaluate", str(tmp_path / "a.npz"), "--config", str(tmp_path / "a.toml"), "--tasks", "2"]
    try:
        assert main([*command, "--steps", "3"]) == 0
    finally:
        sys.path[:] = before
        del sys.modules["own_net"]
    assert "4 fresh tasks, 0 of them not finite at step 3" in capsys.readouterr().out


def other(**changes):
    return {**tree(), **changes}


@pytest.mark.parametrize(
    ("phi", "error", "message"),
    [
        (
            tree(np.float32),
            TypeError,
            r"with phi_0 of float64; expected float32, that of phi\['eta'\] of its optimizer",
        ),
        (tree(n=3), ValueError, r"with phi_1 of shape \(2, 2\); expected \(3, 3\), that of phi\['layer'\]\.W of its"),
        (
            other(layer=(np.eye(2), [np.zeros(2)])),
            ValueError,
            r"phi\['layer'\]\.W where its optimizer has phi\['layer'\]\[0",
        ),
        (other(z=np.zeros(2)), ValueError, r"with nothing where its optimizer has phi\['z'\]; expected 4 arrays"),
        (other(eta=None), ValueError, r"with phi\['eta'\] where its optimizer has phi\['layer'\]\.W"),
    ],
)
def test_another_tree_is_refused_at_the_leaf(tmp_path, phi, error, message):
    mg.save_trained(tmp_path / "a.npz", Net(), tree())
    with pytest.raises(error, match=message):
        mg.load_trained(tmp_path / "a.npz", template=(Net(), phi))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda arrays, text: arrays.pop("phi_1"), r"without phi_1; expected an array \(2, 2\) for phi\['layer'\]\.W"),
        (lambda arrays, text: arrays["phi_2"].fill(np.nan), r"phi_2, which is not finite.*phi\['layer'\]\.b\[0\]"),
        (lambda arrays, text: text.update(paths=3), r"which was edited \(paths is a int\)"),
        (
            lambda arrays, text: text["paths"].reverse(),
            r"with phi\['layer'\]\.b\[0\] where its optimizer has phi\['eta'",
        ),
        (lambda arrays, text: arrays.update(more=np.zeros(1)), "with more beside them"),
    ],
)
def test_an_edited_file_is_refused(tmp_path, edit, message):
    mg.save_trained(tmp_path / "a.npz", Net(), tree())
    arrays, text = read_npz(tmp_path / "a.npz", "here")
    edit(arrays, text)
    write_npz(tmp_path / "a.npz", arrays, text)
    with pytest.raises(ValueError, match=message):
        mg.load_trained(tmp_path / "a.npz", make=make)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"phi": other(eta=np.asarray(np.inf))}, ValueError, r"save_trained: phi\['eta'\] is not finite"),
        ({"phi": other(eta=np.asarray(1))}, TypeError, r"phi\['eta'\] is an array of int64; expected a float array"),
        ({"phi": other(eta="0.1")}, TypeError, r"phi\['eta'\] is a str; expected a float array"),
        ({"phi": other(eta=np.array([None]))}, TypeError, r"phi\['eta'\] is an array of object"),
        ({"phi": {"a": None}}, ValueError, "phi is a dict without arrays"),
        ({"about": {"at": np.zeros(2)}}, TypeError, "about is one that JSON cannot hold .*ndarray"),
        ({"about": [1]}, TypeError, "about is a list; expected a dict"),
        ({"config": "a.toml"}, TypeError, "config is a str; expected a dict"),
    ],
)
def test_what_cannot_be_saved_is_said_and_nothing_is_written(tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        mg.save_trained(tmp_path / "a.npz", Net(), **{"phi": tree(), **more})
    assert not list(tmp_path.iterdir())


def test_a_dtype_that_npz_files_lack(tmp_path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    with pytest.raises(ValueError, match=r"phi\['eta'\] is of bfloat16, which npz files lack"):
        mg.save_trained(tmp_path / "a.npz", Net(), tree(bfloat16))


def test_phi_of_another_rule_is_not_saved(tmp_path):
    with pytest.raises(TypeError):
        mg.save_trained(tmp_path / "a.npz", mg.Adam(), mg.Momentum.Phi(0.1, 0.9))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"make": make, "template": make()}, ValueError, "make is given beside template; expected one of the two"),
        ({"make": 5}, TypeError, "make is a int; expected a function that returns a rule"),
        ({"make": lambda: 5}, ValueError, r"make is the function <lambda>, which returned a int without init, step"),
        ({"make": Net}, ValueError, "a Net without init_meta"),
        ({"make": lambda: 1 / 0}, ValueError, r"raised ZeroDivisionError: division by zero, line \d+ of test_trained"),
        ({"make": lambda n: make()}, ValueError, r"\[optimizer\] n is missing"),
        ({"template": Net()}, TypeError, r"template is a Net; expected \(rule, phi\)"),
        ({"template": (5, 6)}, TypeError, r"template is a tuple; expected \(rule, phi\)"),
    ],
)
def test_makers_and_templates_that_are_none(tmp_path, more, error, message):
    mg.save_trained(tmp_path / "a.npz", Net(), tree())
    with pytest.raises(error, match=message):
        mg.load_trained(tmp_path / "a.npz", **more)


@pytest.mark.parametrize("name", trained_names())
def test_what_ships_needs_no_maker_and_takes_a_template(name):
    trained = mg.load_trained(name)
    assert same(mg.load_trained(name, template=(trained.optimizer, trained.phi)).phi, trained.phi)
    with pytest.raises(ValueError, match=r"make is given; expected none, since the config of .* names 'lstm'"):
        mg.load_trained(name, make=make)
