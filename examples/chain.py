"""Transformations of the gradient in a chain, each with its meta-parameters: clip, decay, noise. And AdamW."""

import metagrad as mg

task = mg.random_least_squares(6, 30, 20, sigma=1.0, seed=3, split=0.5)
rule = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), mg.GradientNoise(seed=1), rule=mg.Adam())
print("meta-parameters", rule.Phi._fields)
phi = rule.Phi(max_norm=1.0, weight_decay=0.1, noise=0.01, noise_decay=0.5, eta=0.05, beta1=0.9, beta2=0.999, eps=1e-8)
found = mg.meta_gradient(task, rule, mg.Final("validation"), phi, steps=40)
print("of the chain", [float(g.to_float().round(4)) for g in found.grad[:5]])

phi = mg.AdamW.Phi(0.05, decay=0.1)
found = mg.meta_gradient(task, mg.AdamW(), mg.Final("validation"), phi, steps=40)
print("of AdamW", found.grad.eta.to_float(), found.grad.decay.to_float())
