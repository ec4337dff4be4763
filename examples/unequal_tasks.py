"""Tasks of unequal sizes, side by side: three, five and eight samples."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x = [draw.standard_normal((n, 2)) for n in (3, 5, 8)]
y = [sample @ np.array([1.0, -1.0]) + 0.1 * draw.standard_normal(len(sample)) for sample in x]
task = mg.LeastSquares(x, y)
print(mg.meta_gradient(task, mg.GradientDescent(), mg.Final("train"), 0.1, steps=20).grad.eta.to_float())
