"""A copy of the project with one fault, and the tests that are to notice it: those beside the code, then all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import Mutation

ROOT = Path(__file__).resolve().parent.parent.parent
_KEPT = ("metagrad", "analysis", "paper_figs", "benchmarks", "tests", "configs", "examples", "README.md")
_KEPT += ("docs", "pyproject.toml", "CITATION.cff", ".ci")
_BESIDE = {  # folders of tests, by the folder of the code; the tests of the same name come first
    "ad": ("ad",),
    "scaled": ("scaled",),
    "theory": ("theory",),
    "unroll": ("unroll", "estimators"),
    "estimators": ("estimators",),
    "kernels": ("estimators", "backends"),
    "optimizers": ("optimizers", "contracts"),
    "tasks": ("tasks", "contracts"),
    "objectives": ("objectives", "contracts"),
    "training": ("training",),
    "diagnosis": ("diagnosis",),
    "checkup": ("checkup",),
    "data": ("data",),
}
_ALL = ["tests", "metagrad"]
_NO_TESTS = 5  # pytest's code where it finds none: then nothing was noticed
_LONGEST = 1800  # seconds that a mutant may take: one that never ends is noticed too


@dataclass(frozen=True)
class Hunted:
    """A fault, and what noticed it: "the tests beside it", "all tests", or nothing."""

    path: str
    mutation: Mutation
    by: str | None


def copy_project(folder: Path) -> Path:
    """Return a copy of the project that faults can be made in."""
    target = folder / "project"
    target.mkdir(parents=True)
    for name in _KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, target / name)
    return target


def failing(project: Path, jobs: int) -> bool:
    """Tell whether a test fails without any fault: then nothing can be said of faults."""
    return _noticed(project, _ALL, jobs)


def hunt(project: Path, path: str, mutation: Mutation, jobs: int) -> Hunted:
    """Make the fault in the copy, run the tests, and take it back."""
    file = project / path
    source = file.read_text(encoding="utf-8")
    try:
        file.write_text(mutation.made(source), encoding="utf-8")
        for name, folders in (("the tests beside it", beside(project, path)), ("all tests", _ALL)):
            if folders and _noticed(project, folders, jobs):
                return Hunted(path, mutation, name)
        return Hunted(path, mutation, None)
    finally:
        file.write_text(source, encoding="utf-8")


def beside(project: Path, path: str) -> list[str]:
    """Return the folders and files of tests beside a file of the code, and the doctests in it."""
    part = Path(path).parts[1].removesuffix(".py")
    own = [str(x.relative_to(project)) for x in (project / "tests").rglob(f"test_{Path(path).stem.strip('_')}.py")]
    return [path, *own, *(f"tests/{name}" for name in _BESIDE.get(part, ()) if (project / "tests" / name).is_dir())]


def _noticed(project: Path, folders: list[str], jobs: int) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", str(jobs), "-p", "no:cacheprovider", *folders]
    environment = os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(command, cwd=project, env=environment, capture_output=True, timeout=_LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return True
    if run.returncode not in (0, 1, _NO_TESTS):
        raise RuntimeError(f"pytest ended with the code {run.returncode}: {run.stdout[-500:]}{run.stderr[-500:]}")
    return run.returncode == 1
