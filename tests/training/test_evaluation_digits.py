"""Digits of trust where training is evaluated, and nowhere else: its numbers stay the same bits."""

from dataclasses import replace

import numpy as np

import metagrad as mg
from metagrad import ad
from metagrad.training import Recipe, Trainer, read_metrics


def trainer(every):
    recipe = Recipe(episodes=4, horizon=6, window=3, evaluate_every=every, evaluation_steps=6)
    tasks = lambda seed: mg.random_quadratics(2, 3, seed=seed)  # noqa: E731
    return Trainer(mg.CoordinatewiseLSTM((3,)), tasks, mg.WeightedSum(), recipe)


def run(every, tmp_path):
    one = trainer(every)
    phi = one.optimizer.init_meta(np.random.default_rng(0))
    result = one.run(phi, metrics=tmp_path / f"{every}.jsonl")
    return result, read_metrics(tmp_path / f"{every}.jsonl")


def test_digits_are_told_where_an_episode_is_evaluated(tmp_path):
    (often, seen), (once, last) = (run(every, tmp_path) for every in (1, 4))
    for name in ("value", "gradient"):
        assert ((seen[f"digits.{name}"] > 5) & (seen[f"digits.{name}"] < 16)).all()
        assert np.isnan(last[f"digits.{name}"]).tolist() == [True, True, True, False]
    assert all(np.array_equal(a, b) for a, b in zip(ad.leaves(often.last), ad.leaves(once.last), strict=True))


def test_digits_of_fresh_tasks():
    one = trainer(1)
    phi = one.optimizer.init_meta(np.random.default_rng(0))
    digits = one.evaluation_digits(phi, 5, stream="fresh")
    assert digits.shape == (2,)
    assert ((digits > 10) & (digits < 16)).all()
    assert not np.array_equal(digits, replace(one, seed=1).evaluation_digits(phi, 5, stream="fresh"))
