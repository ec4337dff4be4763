"""A policy of the engine against the oracle's table of all algorithms."""

import numpy as np
import pytest

import metagrad as mg
from analysis import _search_policy as search
from metagrad.theory import no_free_lunch as theory


@pytest.mark.parametrize(("points", "values", "looks"), [(3, 2, 2), (3, 2, 3), (4, 2, 2), (4, 3, 2)])
def test_a_certain_policy_is_one_of_all_algorithms(points, values, looks):
    policy = search.Policy(search.Histories(points, values, looks))
    functions, sequences = theory.functions(points, values), theory.value_sequences(points, values)
    known = {tuple(row) for row in theory.losses(sequences, points, values, seen=looks).tolist()}
    draw = np.random.default_rng(0)
    sets = draw.random((5, len(functions))) < 0.5
    sets[:, 0] = True
    task = search.sets_of(policy, functions, sets)
    scores = 200.0 * draw.permuted(np.broadcast_to(np.arange(points), (5, *policy.histories.open.shape)), axis=-1)
    found = search.losses(policy, task, scores)
    assert all(tuple(row) in known for row in found.round(9).tolist())
    random = search.losses(policy, task, 0 * scores)
    mean = theory.losses(sequences, points, values, seen=looks).mean(axis=0)
    np.testing.assert_allclose(random, np.broadcast_to(mean, random.shape), atol=1e-12)


def test_the_loss_of_a_set_is_the_mean_over_its_functions():
    policy = search.Policy(search.Histories(3, 2, 2))
    functions = theory.functions(3, 2)
    sets = np.array([[True, False, True, False, False, True, False, False]])
    task = search.sets_of(policy, functions, sets)
    scores = np.random.default_rng(1).standard_normal((1, *policy.histories.open.shape))
    each = search.losses(policy, task, scores)
    h = 1e-5
    up, down = (search.losses(policy, task, scores + by * np.eye(len(policy.histories.open), 3)) for by in (h, -h))
    slope = ((up - down) / (2 * h))[sets].mean()
    ask = task, policy, mg.Final(), policy.Phi(scores)
    found = mg.meta_gradient(*ask, steps=2, per_task=True)
    np.testing.assert_allclose(found.value.to_float(), [each[sets].mean()])
    eye = np.eye(len(policy.histories.open), 3)
    np.testing.assert_allclose((found.grad.scores.to_float()[0] * eye).sum(), slope, rtol=1e-6)


def test_histories_never_repeat_a_point():
    histories = search.Histories(4, 3, 2)
    assert len(histories.all) == 1 + 4 * 3 + 4 * 3 * 3 * 3
    assert all(len({x for x, _ in one}) == len(one) for one in histories.all)
    assert (histories.open.sum(axis=1) == [4 - len(one) for one in histories.all[: histories.inner]]).all()
