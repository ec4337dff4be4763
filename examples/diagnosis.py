"""What can go wrong with a meta-gradient, in words: growth, horizons of breakdown, digits, biases, costs, a figure."""

import numpy as np

import metagrad as mg

task = mg.DiagonalQuadratic(np.array([1.0, 4.0]), np.ones(2))
found = mg.diagnose(task, mg.GradientDescent(), mg.LogFinal(), 0.55, steps=100, dtype="float32")
print(found)
print("decades a step", found.state.value, "plain float32 breaks at step", found.plain.steps)
found.figure("diagnosis.png")
