"""Few-shot problems from drawings of characters (Omniglot where a folder is named, else invented ones), and a start."""

import os

import numpy as np

import metagrad as mg
from metagrad.data import Characters, draw_episodes, load_omniglot, split_alphabets
from metagrad.training import Recipe, Trainer

draw, folder = np.random.default_rng(0), os.environ.get("METAGRAD_OMNIGLOT")
noisy = draw.random((12, 1, 14, 14)) + 0.5 * draw.standard_normal((12, 20, 14, 14))
invented = Characters(noisy.clip(0, 1).astype(np.float32), ("first", "second", "third") * 4)
train, test = split_alphabets(load_omniglot(folder, side=14) if folder else invented, test=1)


def problems(seed, characters=train):
    e = draw_episodes(characters, ways=3, shots=1, queries=5, count=8, seed=seed)
    net, held = mg.MLP((196, 32, 3), "relu", "shape"), (e.query_x, e.query_y)
    return mg.LearnedStart(mg.MLPClassifier(net, e.support_x, e.support_y, held, batch_size=None))


rule, recipe = mg.GradientDescent(), Recipe(40, horizon=3, window=3, gradient="full", evaluation_steps=3)
phi = Trainer(rule, problems, mg.Final("validation"), recipe).run(mg.Joint(np.float32(0.1), problems(0).first())).phi
_, end = mg.rollout(problems(1, test), rule, phi, steps=3, with_end=True)
print(
    "accuracy on characters never trained on", problems(1, test).accuracy(end.w, "validation").mean(), "by chance 1/3"
)
