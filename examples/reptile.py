"""Reptile: the start moves towards where runs on tasks end, by an outer step that falls in a straight line to 0."""

import numpy as np

import metagrad as mg
from metagrad.training import Recipe, Trainer

family = mg.Sinusoids.reptile(count=4, net=mg.MLP((1, 16, 1), "tanh", "fan_in"))
first, rule = mg.LearnedStart(family(0)).first(), mg.Following(mg.GradientDescent(), eta=mg.Polynomial())
outer = mg.Through(rule, rule.Phi(eta_start=0.5, eta_end=0.0, eta_power=1.0), steps=200)
recipe = Recipe(200, horizon=5, window=5, evaluate_every=200, evaluation_steps=5)
parts = mg.GradientDescent(), lambda seed: mg.LearnedStart(family(seed)), mg.Final("validation"), recipe
trained = Trainer(*parts, outer=outer, outer_phi=None, estimator=mg.Reptile()).run(mg.Joint(np.array(0.05), first)).last
for name, start in (("random", first), ("learned", trained.task)):
    new = mg.LearnedStart(mg.Sinusoids.reptile(count=100, shots=10, net=family.net)(1))
    curve = mg.rollout(new, mg.GradientDescent(), mg.Joint(0.05, start), steps=8, measure="validation")
    print(f"{name} start: query error {curve[0].mean():.2f}, after 8 steps {curve[-1].mean():.2f}")
