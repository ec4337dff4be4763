"""Tasks whose inputs and answers are tied: drawn tasks, and the start that the split alone finds."""

import numpy as np
import pytest

from metagrad.theory.starts import split, tied

KINDS = tied.Kinds([0.6, 0.4], [0.5, 1.5], [-1.0, 1.0], signal=[0.5, 1.0], sigma=[0.3, 0.6])


def learned(seed, kinds, setting, tasks, repeats):
    """Return the starts (repeats, d) that so many tasks teach, by solving for the zero of the mean meta-gradient."""
    (n, d, alpha, steps, train), r = setting, np.random.default_rng(seed)
    kind = r.choice(kinds.count, size=(repeats, tasks), p=kinds.shares)
    X = r.standard_normal((repeats, tasks, n, d)) * np.sqrt(kinds.scales)[kind][..., None, None]
    w = r.standard_normal((repeats, tasks, d)) * (kinds.signal[kind] / np.sqrt(d))[..., None]
    w[..., 0] += kinds.places[kind]
    y = np.einsum("rtnd,rtd->rtn", X, w) + kinds.sigma[kind][..., None] * r.standard_normal((repeats, tasks, n))
    first = n if train is None else train
    Xa, ya = X[:, :, :first], y[:, :, :first]
    Xb, yb = (X, y) if train is None else (X[:, :, first:], y[:, :, first:])
    S, Sb = (np.swapaxes(x, 2, 3) @ x / x.shape[2] for x in (Xa, Xb))
    ga, gb = (np.einsum("rtnd,rtn->rtd", x, z) / x.shape[2] for x, z in ((Xa, ya), (Xb, yb)))
    P, at = np.broadcast_to(np.eye(d), S.shape), np.zeros_like(ga)
    for _ in range(steps):
        at = at - alpha * (np.einsum("rtij,rtj->rti", S, at) - ga)
        P = P - alpha * S @ P
    left, right = np.swapaxes(P, 2, 3) @ Sb @ P, np.einsum("rtji,rtj->rti", P, gb - np.einsum("rtij,rtj->rti", Sb, at))
    return np.linalg.solve(left.mean(axis=1), right.mean(axis=1)[..., None])[..., 0]


@pytest.mark.parametrize("train", [None, 4])
def test_drawn_tasks(train):
    d, tasks = 3, 400
    taught = tied.taught_start(KINDS, 8, d, 0.2, 2, train=train)
    starts = learned(1, KINDS, (8, d, 0.2, 2, train), tasks, 600)
    off = starts[:, 0].mean() - (taught.place + taught.drift / tasks)
    assert abs(off) < 4 * starts[:, 0].std() / np.sqrt(len(starts))
    starts[:, 0] -= taught.place
    squares = tasks * np.sum(starts**2, axis=1)
    assert abs(squares.mean() - taught.error) < 4 * squares.std() / np.sqrt(len(squares)) + 10 / tasks * taught.error


def test_the_drift_of_few_tasks():
    """The mean over many sets of 60 tasks, all from kinds alone, is off by drift/60."""
    kinds = tied.Kinds([0.8, 0.2], [0.4, 4.0], [-1.0, 1.0], signal=0.0)
    taught = tied.taught_start(kinds, 4, 1, 0.1, 1)
    starts = learned(2, kinds, (4, 1, 0.1, 1, None), 60, 20_000)
    width = starts[:, 0].std() / np.sqrt(len(starts))
    off = starts[:, 0].mean() - taught.place
    assert abs(taught.drift / 60) > 10 * width  # the first order is seen
    assert abs(off - taught.drift / 60) < 4 * width + 0.2 * abs(taught.drift / 60)


def test_the_split_is_right_where_it_adapts_as_the_test_does():
    with_split = tied.taught_start(KINDS, 8, 3, 0.2, 2, train=5)
    assert with_split.place == pytest.approx(tied.best_start(KINDS, 5, 3, 0.2, 2)[0], abs=1e-14)
    without = tied.taught_start(KINDS, 8, 3, 0.2, 2)
    for samples in (5, 8):
        best = tied.best_start(KINDS, samples, 3, 0.2, 2)
        assert abs(without.place - best[0]) > 0.1
        assert tied.excess_loss(without, best, np.inf) > 0.001


@pytest.mark.parametrize("train", [None, 4])
def test_one_kind_is_the_realisable_case(train):
    one = tied.Kinds([1.0], [1.0], [0.7], signal=0.8, sigma=0.3)
    taught = tied.taught_start(one, 9, 4, 0.2, 2, train=train)
    assert (taught.place, taught.drift) == (pytest.approx(0.7, rel=1e-14), pytest.approx(0, abs=1e-14))
    expected = split.start_error(9, 4, 0.2, 2, train=train, sigma=0.3, signal=0.8)
    assert taught.error == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tied.Kinds([0.5, 0.6], [1.0, 1.0], [0.0, 0.0]), "chances that sum to 1"),
        (lambda: tied.Kinds([0.5, 0.5], [1.0, 0.0], [0.0, 0.0]), "scales is .*above 0"),
        (lambda: tied.Kinds([0.5, 0.5], [1.0], [0.0, 0.0]), r"scales is of shape \(1,\)"),
        (lambda: tied.Kinds([0.5, 0.5], 1.0, 0.0, sigma=-1.0), "sigma is"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
