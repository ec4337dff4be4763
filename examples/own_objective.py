"""An objective of one's own: the mean over the second half of the run, of a measure that is a function of w."""

import numpy as np

import metagrad as mg


class Late:
    measure = staticmethod(lambda w: np.sum(w**4, axis=-1))

    def weight(self, t, steps):
        return 2.0 / steps if 2 * t > steps else None

    def inner(self, term):
        return term, mg.Scaled.of(np.ones(term.shape))

    finish = staticmethod(lambda total, steps: (total, mg.Scaled.of(np.ones(total.shape))))


task = mg.random_quadratics(count=4, d=3, seed=0)
found = mg.meta_gradient(task, mg.GradientDescent(), Late(), 0.05, steps=20)
print("value", found.value.to_float().mean(), "d/d eta", found.grad.eta.to_float())
