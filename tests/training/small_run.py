"""A small meta-training run, and ways to stop it."""

import numpy as np

import metagrad as mg
from metagrad import ad
from metagrad.training import Recipe, Trainer

RULE = mg.CoordinatewiseLSTM((4,), None, 1.0)
PHI = RULE.init_meta(np.random.default_rng(0))
SMALL = Recipe(episodes=6, horizon=7, window=3, evaluate_every=2, evaluation_tasks=2, evaluation_steps=5)


def quadratics(seed):
    return mg.random_quadratics(3, 2, seed=seed % 1000)


def trainer(recipe=SMALL, tasks=quadratics, **more):
    return Trainer(RULE, tasks, mg.WeightedSum(), recipe, seed=3, **more)


def same(x, y):
    return all(np.array_equal(a, b) for a, b in zip(ad.leaves(x), ad.leaves(y), strict=True))


class StopHereError(Exception):
    pass


def until(episode):
    def progress(row):
        if row["episode"] == episode:
            raise StopHereError

    return progress
