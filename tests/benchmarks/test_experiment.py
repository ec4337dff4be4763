"""The true run of the experiment, at a tiny size and in this process."""

import os
from dataclasses import replace

from analysis import train_by_validation
from benchmarks import experiment_child


def test_the_child_runs_the_experiment(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    tiny = replace(train_by_validation.presets["paper"], d=12, steps=4, tests=3, block=4)
    monkeypatch.setitem(train_by_validation.presets, "paper", tiny)
    found = experiment_child.main(1, 6, (8, 16))
    assert found["seconds"] > 0
    assert {found["by_train"], found["by_validation"]} <= {float(eta) for eta in tiny.etas}
