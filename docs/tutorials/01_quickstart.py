"""
Quickstart
==========

From a loss of your own to a tuned hyper-parameter.
"""

import numpy as np

import metagrad as mg

task = mg.Quadratic(np.diag([0.3, 1.0]), np.array([1.0, -0.6]))
found = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 2.5, steps=100)
print(found.value, found.grad.eta)
