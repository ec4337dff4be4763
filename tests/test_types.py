"""What a type checker sees inside a user's step: misspelt members and wrong returns, and nothing in right code."""

import subprocess
import sys

import pytest

pytest.importorskip("mypy")

RIGHT = """
from typing import NamedTuple

import numpy as np

import metagrad as mg
from metagrad.protocols import View
from metagrad.xp import Array


class HeavyBall:
    class Phi(NamedTuple):
        eta: Array
        beta: Array

    def init(self, phi: Phi, w: Array) -> Array:
        return np.zeros_like(w)

    def step(self, phi: Phi, velocity: Array, w: Array, f: View) -> tuple[Array, Array]:
        velocity = phi.beta * velocity - phi.eta * f.gradient(w)
        return w + velocity, velocity


found = mg.meta_gradient(mg.random_quadratics(2, 3), HeavyBall(), mg.Final(), HeavyBall.Phi(0.1, 0.5), steps=3)
print(found.report(), found.end)
"""
WRONG = {
    "a misspelt question": (("f.gradient(w)", "f.gradiant(w)"), '"View" has no attribute "gradiant"'),
    "a misspelt meta-parameter": (("phi.eta", "phi.etta"), '"Phi" has no attribute "etta"'),
    "a step that returns w alone": (("return w + velocity, velocity", "return f.t"), "Incompatible return value type"),
    "a rule without init": (
        ("def init", "def begin"),
        'Argument 2 to "meta_gradient" has incompatible type "HeavyBall"',
    ),
    "an unknown method of the estimate": (("found.report()", "found.repport()"), 'has no attribute "repport"'),
}


def errors_of(source, folder, name):
    path = folder / f"own_{name}.py"  # a file of its own: what mypy remembers is known by its time
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(folder), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return [line for line in run.stdout.splitlines() if path.name in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("types")


def test_right_code_has_no_errors(folder):
    assert not errors_of(RIGHT, folder, "right")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_code_is_told(name, folder):
    (before, after), message = WRONG[name]
    assert before in RIGHT
    found = errors_of(RIGHT.replace(before, after), folder, name.replace(" ", "_"))
    assert any(message in line for line in found), found
