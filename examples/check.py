"""A loss of one's own is looked at before it is trusted: this one takes a mean over tasks, which are not apart then."""

import numpy as np

import metagrad as mg

x = np.random.default_rng(0).standard_normal((4, 20, 3))


def loss(w):
    return np.mean(np.einsum("bni,bi->bn", x, w - np.mean(w, axis=0)) ** 2, axis=-1)


report = mg.check(mg.FunctionTask(loss, np.ones((4, 3))), mg.Adam(), 0.1)
print(report)
print(len(report.failures), report.failures[0].remedy)
