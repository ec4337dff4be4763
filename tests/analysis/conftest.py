"""Two experiments for the tests of the framework: a tiny one, and one that tests may damage."""

import shutil
import sys
from pathlib import Path

import pytest

import analysis
from analysis.framework import contract

SOURCE = Path(__file__).with_name("troubled_experiment.py.txt")
TINY = Path(__file__).with_name("tiny_experiment.py.txt")


@pytest.fixture
def troubled(tmp_path, monkeypatch):
    """Return an experiment that can be found in this process."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    shutil.copy(SOURCE, folder / "troubled.py")
    monkeypatch.setattr(analysis, "__path__", [*analysis.__path__, str(folder)])
    monkeypatch.setattr(contract, "names", lambda: ["troubled"])
    yield contract.load("troubled")
    sys.modules.pop("analysis.troubled", None)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make an experiment `tiny` that can be found, in this process and in spawned ones; return its file."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    shutil.copy(TINY, folder / "tiny.py")
    monkeypatch.setattr(analysis, "__path__", [*analysis.__path__, str(folder)])
    monkeypatch.setenv("TINY_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(contract, "names", lambda: ["tiny"])
    yield folder / "tiny.py"
    sys.modules.pop("analysis.tiny", None)
