"""Tasks, optimizers and objectives of a user's own in a config, and that files of weights import nothing."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metagrad import ad
from metagrad.cli import main
from metagrad.training.config import read_config, setup
from metagrad.training.trained import load_trained

ROOT = Path(__file__).parents[2]
CODE = '''
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import metagrad as mg

if TYPE_CHECKING:
    from somewhere import Nothing


class Bowl:
    """f = factor ||w||^4, with noise in the gradient."""

    def __init__(self, factor, w0):
        self.factor, self.w0 = factor, w0

    def init(self, rng):
        return {"w": self.w0}

    def sample(self, rng, t):
        return rng.standard_normal(self.w0.shape).astype(self.w0.dtype)

    def loss(self, w, sample):
        return self.factor * np.sum((w["w"] + 0.01 * sample) ** 4, axis=-1)


def bowl(factor, dtype, seed):
    return Bowl(factor, np.random.default_rng(seed).standard_normal((4, 3)).astype(dtype))


def bowls(dtype, *, factor: float = 1.0):
    import lazily  # beside this file

    return partial(bowl, lazily.twice(factor) / 2, dtype)


class HeavyBall:
    def __init__(self, beta):
        self.beta = beta

    def init(self, phi, w):
        return ad_map(np.zeros_like, w)

    def init_meta(self, rng, dtype):
        return {"log_eta": np.asarray(-4.0 + 0.01 * rng.standard_normal(), dtype), "drift": [np.zeros(3, dtype)]}

    def step(self, phi, velocity, w, f):
        velocity = ad_map(lambda v, g: self.beta * v - np.exp(phi["log_eta"]) * g, velocity, f.gradient(w))
        return ad_map(lambda x, v: x + v + 0.01 * phi["drift"][0], w, velocity), velocity


from metagrad.ad import tree_map as ad_map


def heavy_ball(*, beta: float = 0.5):
    return HeavyBall(beta)


def pair(dtype, eta: float = 0.01) -> tuple[HeavyBall, Nothing]:
    return mg.GradientDescent(), mg.GradientDescent.Phi(eta)


def objective(*, log: bool):
    return mg.MeanLog() if log else mg.Mean()


def outer(eta: float = 0.02):
    return mg.RMSprop(), eta
'''
CONFIG = """
seed = 3
[task]
kind = "{module}:bowls"
factor = 2
[optimizer]
kind = "{module}:heavy_ball"
beta = 0.25
[objective]
kind = "{module}:objective"
log = true
[outer]
kind = "{module}:outer"
[training]
episodes = 4
horizon = 6
window = 3
evaluate_every = 2
evaluation_steps = 6
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """The name of a new module beside a config, neither of them in the working folder; nothing of it stays."""
    before, there = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    for name in ("home", "elsewhere"):
        (tmp_path / name).mkdir()
    name = f"own_{abs(hash(request.node.name))}"
    (tmp_path / "home" / f"{name}.py").write_text(CODE)
    (tmp_path / "home" / "lazily.py").write_text("twice = lambda x: 2 * x\n")
    (tmp_path / "home" / "mine.toml").write_text(CONFIG.format(module=name))
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield name
    sys.path[:] = there
    for new in set(sys.modules) - before:
        if new.startswith("own_") or new == "lazily":
            del sys.modules[new]


@pytest.fixture
def home(module, tmp_path):
    return tmp_path / "home"


def forget(module):
    """As in a new process."""
    del sys.modules[module], sys.modules["lazily"]


def same(x, y):
    return ad.paths(x) == ad.paths(y) and all(map(np.array_equal, ad.leaves(x), ad.leaves(y)))


def write(home, module, code, section="task", more=""):
    """Replace the module, and name its `make` in a section of the config."""
    (home / f"{module}.py").write_text("import numpy as np\nimport metagrad as mg\n\n" + code)
    others = {"task": '[optimizer]\nkind = "sgd"\neta = 0.1', "optimizer": '[task]\nkind = "quadratics"\ncount = 2'}
    text = f'[{section}]\nkind = "{module}:make"\n{more}\n{others.get(section, "")}\n'
    if section not in others:
        text += "\n".join(others.values())
    (home / "mine.toml").write_text(f"{text}\n[training]\nepisodes = 1\n")


def test_a_config_names_parts_of_the_users_own(module, home):
    run = setup(read_config(home / "mine.toml"), home)
    assert type(run.trainer.optimizer).__name__ == "HeavyBall"
    assert run.trainer.optimizer.beta == 0.25
    assert run.trainer.tasks(5).factor == 2.0
    assert run.trainer.tasks(5).w0.dtype == np.float32
    assert type(run.trainer.objective).__name__ == "MeanLog"
    assert run.trainer.outer_phi.eta == 0.02
    assert ad.paths(run.phi) == ["['drift'][0]", "['log_eta']"]
    assert {leaf.dtype for leaf in ad.leaves(run.phi)} == {np.dtype(np.float32)}


def test_a_rule_with_its_meta_parameters(module, home):
    config = read_config(home / "mine.toml") | {"optimizer": {"kind": f"{module}:pair", "eta": 1}, "dtype": "float64"}
    config["task"] = {"kind": "quadratics", "count": 2}
    run = setup(config, home)
    assert (float(run.phi.eta), run.phi.eta.dtype) == (1.0, np.float64)


def test_a_class_can_be_the_function(module, home):
    config = read_config(home / "mine.toml") | {"optimizer": {"kind": f"{module}:HeavyBall", "beta": [1, 2]}}
    assert setup(config, home).trainer.optimizer.beta == [1, 2], "of no stated kind: as it is in the config"


def test_meta_train_and_evaluate_from_another_folder(module, home, tmp_path, capsys):
    out, config = tmp_path / "run", str(home / "mine.toml")
    assert main(["meta-train", config, "--out", str(out)]) == 0
    assert main(["meta-train", config, "--out", str(out)]) == 0  # nothing left to do
    for name in ("optimizer.npz", "checkpoint.npz"):
        capsys.readouterr()
        assert main(["evaluate", str(out / name), "--config", config, "--tasks", "2", "--steps", "5"]) == 0
        assert "8 fresh tasks, 0 of them not finite at step 5" in capsys.readouterr().out
    run, make = setup(read_config(home / "mine.toml"), home), sys.modules[module].heavy_ball
    expected = run.trainer.run(run.phi).phi
    for name in ("optimizer.npz", "checkpoint.npz"):
        trained = load_trained(out / name, make=make)
        assert trained.optimizer.beta == 0.25
        assert same(trained.phi, expected)
        assert same(load_trained(out / name, template=(make(), run.phi)).phi, expected)


def test_files_import_nothing(module, home, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["meta-train", str(home / "mine.toml"), "--out", str(out)]) == 0
    forget(module)
    for folder in (home, tmp_path):
        sys.path.insert(0, str(folder))  # even where it would be found
        for name in ("optimizer.npz", "checkpoint.npz"):
            capsys.readouterr()
            assert main(["evaluate", str(out / name)]) == 1
            said = " ".join(capsys.readouterr().err.split())
            assert f"whose optimizer is made by '{module}:heavy_ball', and no file has code imported" in said
            assert f"load_trained(path, make={module}.heavy_ball)" in said
            assert "takes it from --config" in said
            with pytest.raises(ValueError, match="no file has code imported"):
                load_trained(out / name)
    with pytest.raises(ValueError, match=rf"'{module}:heavy_ball', a function of a module, and nothing is imported"):
        setup(read_config(home / "mine.toml"))
    shipped = read_config(home / "mine.toml") | {"optimizer": {"kind": "lstm"}}
    with pytest.raises(
        ValueError, match=rf"\[outer\] kind is '{module}:outer', a function of a module, and nothing is"
    ):
        setup(shipped)
    assert module not in sys.modules


def test_a_shipped_optimizer_on_tasks_of_the_users_own(module, home, tmp_path, capsys):
    text = CONFIG.format(module=module).replace(f'"{module}:heavy_ball"\nbeta = 0.25', '"sgd"\neta = 0.01')
    (home / "mine.toml").write_text(text)
    assert main(["meta-train", str(home / "mine.toml"), "--out", str(tmp_path / "run")]) == 0
    forget(module)
    file = str(tmp_path / "run" / "optimizer.npz")
    assert load_trained(file).optimizer.rule is not None
    assert main(["evaluate", file]) == 1
    assert "nothing is imported for a config without its folder" in " ".join(capsys.readouterr().err.split())
    assert module not in sys.modules
    assert main(["evaluate", file, "--config", str(home / "mine.toml"), "--tasks", "1", "--steps", "2"]) == 0
    (home / "mine.toml").write_text(text.replace("eta = 0.01", "eta = 0.02"))
    assert main(["evaluate", file, "--config", str(home / "mine.toml")]) == 1
    assert "whose [optimizer] is {'kind': 'sgd', 'eta': 0.02}; expected that of" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from metagrad.training.config import read_config, setup
from pathlib import Path
path = Path(sys.argv[1])
run = setup(read_config(path), path.parent)
kill = lambda row: row["episode"] == 2 and os.kill(os.getpid(), signal.SIGKILL)
run.trainer.run(run.phi, checkpoint=sys.argv[2], metrics=sys.argv[3], progress=kill, config=run.config)
"""


def test_a_killed_run_goes_on_to_the_same_bits(module, home, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killed.mkdir()
    files = [str(killed / "checkpoint.npz"), str(killed / "metrics.jsonl")]
    found = subprocess.run([sys.executable, "-c", KILLED, str(home / "mine.toml"), *files], check=False)
    assert found.returncode == -signal.SIGKILL
    assert len((killed / "metrics.jsonl").read_text().splitlines()) == 3
    command = [sys.executable, "-c", "import sys; from metagrad.cli import main; sys.exit(main())", "meta-train"]
    for out in (whole, killed):
        subprocess.run([*command, str(home / "mine.toml"), "--out", str(out)], check=True, capture_output=True)
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert [json.loads(line)["nonfinite"] for line in (whole / "metrics.jsonl").read_text().splitlines()] == [False] * 4
    make = importlib.util.spec_from_file_location(module, home / f"{module}.py")
    code = importlib.util.module_from_spec(make)
    make.loader.exec_module(code)
    first, second = (load_trained(out / "optimizer.npz", make=code.heavy_ball) for out in (whole, killed))
    assert same(first.phi, second.phi)
    (home / f"{module}.py").write_text("# a comment" + CODE)
    subprocess.run([*command, str(home / "mine.toml"), "--out", str(killed)], check=True, capture_output=True)
    (home / f"{module}.py").write_text(CODE.replace("0.01 * sample", "0.02 * sample"))
    again = subprocess.run(
        [*command, str(home / "mine.toml"), "--out", str(killed)], check=False, capture_output=True, text=True
    )
    assert again.returncode == 1, "the task of the checkpoint was another one"
    said = " ".join(again.stderr.split())
    assert re.search(r"of another run \(tasks source = '\w{12}'\.\.\. there, source = '\w{12}'\.\.\. here\)", said)


TASK = "class T:\n    def init(self, rng):\n        return {w}\n    def loss(self, w, sample):\n        return {loss}\n"
MAKE_TASK = "def make(dtype):\n    return lambda seed: T()\n"
WRONG = [
    ("task", "def make():\n    return 1 / 0\n", r"which raised ZeroDivisionError: division by zero, line 5 of own_\w+"),
    ("task", "def make():\n    raise SystemExit('bye')\n", "which raised SystemExit: bye, line 5"),
    ("task", "def make():\n    return 5\n", "which returned a int; expected a function that returns a function from a"),
    (
        "task",
        "def make():\n    return mg.random_quadratics(2, 2)\n",
        "returned a Quadratic.*Return `lambda seed: task`",
    ),
    ("task", "def make():\n    return lambda: 0\n", r"for the seed \d+, raised TypeError: make.*takes 0 positional"),
    ("task", "def make():\n    return lambda seed: 0\n", "whose function of a seed returned a int without init, loss"),
    ("task", "class T: pass\ndef make():\n    return lambda seed: T\n", r"returned the class T.*Return T\(\)"),
    ("task", TASK.format(w="np.zeros((2, 3), int)", loss="0") + MAKE_TASK, "w, an array of int64.*`dtype`.* float32"),
    ("task", TASK.format(w="np.zeros((2, 3))", loss="0") + MAKE_TASK, "returned w, an array of float64"),
    ("task", TASK.format(w="{'a': 'b'}", loss="0") + MAKE_TASK, r"returned w, at \['a'\] a str"),
    ("task", TASK.format(w="[]", loss="0") + MAKE_TASK, "returned w without arrays"),
    ("task", TASK.format(w="1 / 0", loss="0") + MAKE_TASK, "task whose init raised ZeroDivisionError.*, line 6"),
    (
        "task",
        TASK.format(w="np.zeros((2, 3), 'f')", loss="np.sum(w)") + MAKE_TASK,
        r"task whose loss raised ValueError: T\.loss: the loss is of shape \(\); expected one a task, \(2,\)",
    ),
    ("task", "make = 5\n", "which is no function; expected a function that returns"),
    ("task", "other = 5\n", r"and own_\w+ has no function make"),
    (
        "task",
        "import not_there\n",
        "cannot be imported .ModuleNotFoundError: No module named 'not_there', line 4.*Mend",
    ),
    ("task", "def make(:\n", r"cannot be imported .SyntaxError: .*line 4"),
    ("task", "import sys\nsys.exit(3)\n", "cannot be imported .SystemExit: 3, line 5"),
    ("optimizer", "def make():\n    return 5\n", "returned a int without init, step"),
    ("optimizer", "def make():\n    return mg.Adam\n", r"returned the class Adam.*Return Adam\(\)"),
    (
        "optimizer",
        "def make():\n    return mg.Adam()\n",
        "returned a Adam without init_meta; expected a function that re",
    ),
    ("optimizer", "def make():\n    return mg.Adam(), 0.0\n", r"config: \[optimizer\] kind: eta is 0\.0"),
    (
        "optimizer",
        "class R:\n    init = step = None\ndef make():\n    return R(), {'W': np.zeros(2)}\n",
        r"returned meta-parameters phi, at \['W'\] an array of float64",
    ),
    ("optimizer", "class R:\n    init = step = None\ndef make():\n    return R(), ()\n", "phi without arrays"),
    (
        "optimizer",
        "class R:\n    init = step = init_meta = None\ndef make():\n    return R()\n",
        "init_meta raised TypeE",
    ),
    (
        "objective",
        "def make():\n    return 5\n",
        "returned a int without finish, inner, measure, weight; expected.* obj",
    ),
    (
        "outer",
        "def make():\n    return mg.Adam()\n",
        r"returned a Adam; expected a function that returns \(rule, phi\)",
    ),
    ("outer", "def make():\n    return 5, 6\n", "returned a pair with a int without init, step"),
]


@pytest.mark.parametrize(("section", "code", "message"), WRONG, ids=[str(k) for k in range(len(WRONG))])
def test_what_is_wrong_is_one_sentence(module, home, section, code, message, capsys):
    write(home, module, code, section)
    with pytest.raises(ValueError, match=message) as found:
        setup(read_config(home / "mine.toml"), home)
    assert str(found.value).startswith(f"config: [{section}] kind")
    assert main(["meta-train", str(home / "mine.toml")]) == 1
    assert capsys.readouterr().err.startswith(f"error: config: [{section}] kind")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ("conut = 3", ValueError, r"'conut'; expected a key of \[task\].*'count'"),
        ("", ValueError, r"\[task\] count is missing"),
        ('count = "3"', TypeError, r"\[task\] count is '3', a str; expected an integer"),
        ("count = 3\nsizes = 2", TypeError, r"\[task\] sizes is 2, a int; expected a list, each an integer"),
        ("count = 3\ndtype = 'float64'", ValueError, r"'dtype'; expected a key of \[task\]"),
    ],
)
def test_the_values_of_a_section_are_checked_as_those_of_shipped_kinds(module, home, more, error, message):
    code = "def make(dtype, *, count: int, sizes: tuple[int, ...] = ()):\n    raise AssertionError\n"
    write(home, module, code, more=more)
    with pytest.raises(error, match=message):
        setup(read_config(home / "mine.toml"), home)


def test_a_function_of_any_key_gets_them_all(module, home):
    code = "def make(**keys):\n    assert keys == {'a': {'b': [1, 2.5]}}, keys\n    return mg.Mean()\n"
    write(home, module, code, "objective", "a = {b = [1, 2.5]}")
    assert setup(read_config(home / "mine.toml"), home)


@pytest.mark.parametrize("kind", ["own:", ":make", "own.py:make", "a b:make", "own:make()", "/own:make", "own:a.b"])
def test_what_no_function_can_be_called(module, home, kind):
    if kind == "own.py:make":
        with pytest.raises(ValueError, match="No module named 'own'"):
            setup({"optimizer": {"kind": kind}}, home)
        return
    with pytest.raises(ValueError, match=r'expected "module:function". Such as "my_module:make"'):
        setup({"optimizer": {"kind": kind}}, home)


def test_where_a_module_was_looked_for_is_said(home, tmp_path):
    with pytest.raises(ValueError, match="No module named 'own_absent'") as found:
        setup({"optimizer": {"kind": "own_absent:make"}}, home)
    assert f"expected a module own_absent in {home} or {tmp_path / 'elsewhere'}, or an installed" in str(found.value)


def test_the_folder_of_the_config_is_first_and_then_the_working_folder(module, home, tmp_path):
    config = {
        "optimizer": {"kind": f"{module}:heavy_ball"},
        "task": {"kind": "quadratics"},
        "training": {"episodes": 1},
    }
    (tmp_path / "elsewhere" / f"{module}.py").write_text("raise ValueError('not this one')\n")
    path = list(sys.path)
    assert type(setup(config, home).trainer.optimizer).__name__ == "HeavyBall"
    assert sys.path[: len(path)] == path, "nothing that is found today is found elsewhere later"
    (tmp_path / "elsewhere" / "own_second.py").write_text(CODE)
    assert setup(config | {"optimizer": {"kind": "own_second:heavy_ball"}}, home).trainer.optimizer.beta == 0.5


def test_another_module_of_the_same_name_is_not_taken_for_it(module, home, tmp_path):
    config = read_config(home / "mine.toml")
    setup(config, home)
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / f"{module}.py").write_text(CODE)
    with pytest.raises(
        ValueError, match=rf"another {module} is imported already, of .*home.*Give one of the two another"
    ):
        setup(config, tmp_path / "third")


def test_the_help_says_what_a_function_returns(capsys):
    with pytest.raises(SystemExit):
        main(["meta-train", "--help"])
    listed = " ".join(capsys.readouterr().out.split())
    assert '"module:function"' in listed
    assert "a function of one argument, an integer seed, that returns a task" in listed
