"""Step sizes that change: one for every step beside one momentum, and a cosine with warm-up of four numbers."""

import numpy as np

import metagrad as mg

task = mg.random_quadratics(count=8, d=5, seed=0)
every = mg.Scheduled(mg.Momentum(), ("eta",))
found = mg.meta_gradient(task, every, mg.LogFinal(), mg.Momentum.Phi(np.full(30, 0.02), 0.5), steps=30)
print("d/d eta_t", found.grad.eta.to_float()[[0, -1]], "d/d mu", found.grad.mu.to_float())

rule = mg.Following(mg.Momentum(), eta=mg.WarmUp(mg.Cosine()))
phi = rule.Phi(eta_warm=5.0, eta_start=0.03, eta_end=0.001, mu=0.5)
found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=30)
print({name: float(g.to_float().round(4)) for name, g in found.grad._asdict().items()})

# The best one for these tasks, to many digits: SciPy's BFGS on the logs of the step sizes, with exact gradients.
best = mg.minimise(task, every, mg.LogFinal(), mg.Momentum.Phi(np.full(6, 0.1), 0.3), steps=6, most=60)
print(best, best.phi.eta.round(3), round(float(best.phi.mu), 3))
