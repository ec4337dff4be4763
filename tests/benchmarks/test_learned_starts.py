"""MAML's meta-gradient: the engine and every peer compute the same numbers; nothing is timed."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import learned_starts, learned_starts_child, peers, registry

SMALL = [learned_starts.Case(kind, steps, 3, seed=2) for kind in ("sine waves", "characters") for steps in (1, 2)]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.kind}-{case.steps}")
def test_every_call_is_the_same_meta_gradient(case):
    found, _ = peers.load_all(list(learned_starts.PEERS), learned_starts.PEERS)
    every = learned_starts.calls(case, found)
    mine = every[learned_starts.OURS]()
    assert [leaf.shape for leaf in mine[1:]] == [leaf.shape for leaf in learned_starts.given(case).start]
    assert all(leaf.dtype == np.float32 for leaf in mine)
    rows = learned_starts.compare(case, found, repetitions=1)
    ours = set(learned_starts.ours(case))
    assert {row.peer for row in rows} == set(every) - ours
    assert {row.ours for row in rows} == ours or "jax" not in found
    assert all(row.agrees for row in rows), [(row.peer, row.agreement) for row in rows]


@pytest.mark.parametrize("kind", ["sine waves", "characters"])
def test_the_call_is_second_order(kind):
    """A difference of two values along the gradient, in one task, against its length: small, as relu has kinks."""
    case = learned_starts.Case(kind, 1, 1, seed=1)
    _, *grad = learned_starts.ours(case)[learned_starts.OURS]()
    numbers = learned_starts.given(case)
    length = np.sqrt(sum(float(np.sum(g.astype("float64") ** 2)) for g in grad))
    h = 1e-4

    def at(sign):
        moved = tuple(a + np.float32(sign * h / length) * g for a, g in zip(numbers.start, grad, strict=True))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learned_starts, "given", lambda case: replace(numbers, start=moved))
            return float(learned_starts.ours(case)[learned_starts.OURS]()[0])

    assert (at(1) - at(-1)) / (2 * h) == pytest.approx(length, rel=0.02)


def test_the_cases_are_those_of_the_goal():
    assert [(case.kind, case.steps) for case in learned_starts.CASES] == [
        (kind, steps) for kind in ("sine waves", "characters") for steps in (1, 5)
    ]
    assert "learned_starts" in registry.NAMES


def test_the_memory_of_a_call():
    found = learned_starts_child.main("0", learned_starts.OURS, 0)
    assert found["resident"] >= 0 or np.isnan(found["resident"])
