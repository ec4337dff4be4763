"""Tasks that stop early, each at its own time: where its gradient is small; the others go on."""

import metagrad as mg

task = mg.random_quadratics(count=4, d=3, seed=0)
rule = mg.Until(mg.GradientDescent(), tolerance=1.0)
found = mg.meta_gradient(task, rule, mg.Final(), 0.05, steps=60)
print("stopped", found.end.state.done, "d/d eta", found.grad.eta.to_float())
