"""A meta-training run on disk: its metrics, and the settings and the time in the checkpoint beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.files import LARGEST, read_npz
from metagrad.training.metrics import read_metrics
from metagrad.training.store import FORMAT

METRICS, CHECKPOINT = "metrics.jsonl", "checkpoint.npz"
_LOG10_2 = float(np.log10(2.0))
WHATS = ["evaluation", "best", "objective", "gradient"]


@dataclass(frozen=True)
class RunOnDisk:
    """A run: where it is, its metrics as columns, and, where a checkpoint is beside them, config, changes, seconds.

    `config`: None where the checkpoint has none. `changes`: what was changed on the way, as the checkpoint keeps it.
    `seconds`: how long it took up to its last checkpoint, after `saved` episodes; NaN where that is not known.
    """

    path: Path
    columns: dict[str, np.ndarray]
    config: dict[str, Any] | None = None
    changes: tuple[dict[str, Any], ...] = ()
    seconds: float = math.nan
    saved: int = 0

    @property
    def name(self) -> str:
        """What the run is called: its folder, or its file where that has another name than those of meta-train."""
        path = self.path.parent if self.path.name == METRICS else self.path.with_suffix("")
        return path.name or path.resolve().name

    @property
    def seed(self) -> int | None:
        """The seed of the config; None where there is no config."""
        return None if self.config is None else int(self.config.get("seed", 0))

    @property
    def episodes(self) -> int:
        """How many episodes were done."""
        return int(self.columns["episode"][-1]) + 1 if len(self.columns["episode"]) else 0

    @property
    def asked(self) -> int | None:
        """How many episodes the config asks for; None where it does not say."""
        found = None if self.config is None else self.config.get("training", {}).get("episodes")
        return found if isinstance(found, int) else None

    @property
    def best(self) -> tuple[float, int] | None:
        """The least evaluation, and after how many episodes it was; None without one that is finite."""
        x, y = self.curve("evaluation")
        kept = np.isfinite(y)
        if not kept.any():
            return None
        k = int(np.argmin(y[kept]))
        return float(y[kept][k]), int(x[kept][k])

    def measured(self, what: str) -> str:
        """Return what the objective or the evaluation is, in words; empty where the file does not say it."""
        name = "evaluation" if what in ("evaluation", "best") else "objective"
        texts = self.columns[f"measured.{name}"]
        return str(texts[-1]) if len(texts) else ""

    def curve(self, what: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (episodes done, numbers) of one of `WHATS`; the gradient as log10 of its norm."""
        columns, done = self.columns, self.columns["episode"] + 1
        if what in ("evaluation", "best"):
            seen = columns["evaluated"]
            return done[seen], columns[what][seen]
        numbers, windows = columns["objective" if what == "objective" else "log2_gradient_norm"], columns["windows"]
        there = np.arange(numbers.shape[1]) < windows[:, None]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            mean = np.where(there, numbers, 0.0).sum(axis=1) / windows
        return done, mean if what == "objective" else mean * _LOG10_2


def read_runs(where: str, paths: Any) -> list[RunOnDisk]:
    """Return the runs in folders of meta-train or files of metrics; errors name the function `where`."""
    if not isinstance(paths, list | tuple):
        paths = [paths]
    if not paths:
        bad_value(where, "runs", "empty", "folders of runs, or files of metrics, at least one")
    return [_read(where, checks.file_path(where, "runs", path)) for path in paths]


def _read(where: str, path: Path) -> RunOnDisk:
    metrics = path / METRICS if path.is_dir() else path
    if not metrics.exists():
        _refuse_missing(where, path, metrics)
    if metrics.suffix in (".npz", ".csv"):
        bad_value(where, "runs", path, "a folder of meta-train, or its metrics.jsonl", "Give the folder it is in.")
    columns = read_metrics(metrics)
    checkpoint = metrics.with_name(CHECKPOINT)
    if metrics.name != METRICS or not checkpoint.exists():
        return RunOnDisk(metrics, columns)
    _, about = read_npz(checkpoint, where, argument="runs", formats=(FORMAT,), largest=LARGEST)
    config, changes, seconds = about.get("config"), about.get("changes", []), about.get("seconds", math.nan)
    saved: Any = about.get("episode")
    kinds = ((config, dict | None), (changes, list), (seconds, float), (saved, int))
    if not all(isinstance(value, kind) for value, kind in kinds):
        bad_value(where, "runs", f"{checkpoint}, which was edited", "a checkpoint as it was written")
    _check_config(where, checkpoint, config)
    return RunOnDisk(metrics, columns, config, tuple(changes), seconds, saved)


def _refuse_missing(where: str, path: Path, metrics: Path) -> None:
    if path.is_dir():
        below = sorted(x.parent.name for x in path.glob(f"*/{METRICS}"))
        remedy = f"The runs in it are {', '.join(below)}." if below else "metagrad meta-train writes one there."
        bad_value(where, "runs", f"{path}, a folder without {METRICS}", "the folder of a run", remedy)
    beside = sorted(x.name for x in path.parent.iterdir() if x.is_dir()) if path.parent.is_dir() else []
    remedy = nearest(path.name, beside) if beside else "Look at the path."
    bad_value(where, "runs", f"{metrics}, which does not exist", "a folder of meta-train, or its metrics.jsonl", remedy)


def _check_config(where: str, checkpoint: Path, config: Any) -> None:
    """Raise unless the seed is an integer, and every section a table: the file may have been edited."""
    tables = [] if config is None else [config.get("training", {})]
    if config is not None and (type(config.get("seed", 0)) is not int or not all(isinstance(x, dict) for x in tables)):
        bad_type(where, "runs", f"{checkpoint}, whose config was edited", "a config as meta-train takes it")


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a config, by names such as "outer.eta".

    >>> settings({"seed": 3, "outer": {"kind": "adam", "eta": 0.1}})
    {'seed': 3, 'outer.kind': 'adam', 'outer.eta': 0.1}
    """
    return dict(_walk(config, ""))


def _walk(config: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _walk(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
