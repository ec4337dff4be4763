"""An optimizer of one's own, saved and loaded again: the file imports nothing, the caller brings the rule."""

import tempfile
from pathlib import Path

import numpy as np

import metagrad as mg


class Signs:
    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        g = f.gradient(w)
        return w - phi["eta"] * g / (np.abs(g) + phi["soft"]), state


task, phi = mg.random_quadratics(count=4, d=3, seed=0), {"eta": np.asarray(0.05), "soft": np.asarray(0.5)}
with tempfile.TemporaryDirectory() as folder:
    mg.save_trained(Path(folder) / "signs.npz", Signs(), phi, about={"trained on": "nothing yet"})
    trained = mg.load_trained(Path(folder) / "signs.npz", template=(Signs(), phi))
print(mg.rollout(task, trained.optimizer, trained.phi, steps=50)[-1].mean(), trained.about)
