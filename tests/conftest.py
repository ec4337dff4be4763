"""Profiles of hypothesis, why GPU tests are skipped, how often garbage is looked for, and what a test begins with."""

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from metagrad.replay import shared
from metagrad.unroll import quiet_starts
from metagrad.xp import GpuState, gpu_state

collect_ignore = ["cupy_double/make_snapshot.py"]  # needs CuPy; run by hand for a new version of it

settings.register_profile("dev", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "the fuzz in tests/fuzz")
    group.addoption("--fuzz-cases", type=int, help="how many cases by chance")
    group.addoption("--fuzz-seed", type=int, default=0, help="the seed that they are a function of")
    group.addoption("--fuzz-longest", type=int, default=120, help="the longest horizon")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the collector of garbage look at what tests make alone: items and modules, a million objects, stay anyway."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin each test as a process begins: with no programs that tasks of other tests share."""
    shared._KINDS.clear()
    shared._CODES.clear()
    quiet_starts._KINDS.clear()
    shared._GONE[0] = quiet_starts._GONE[0] = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_tests:
        return
    state, why = gpu_state()
    if state is not GpuState.USABLE:
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason=why))
