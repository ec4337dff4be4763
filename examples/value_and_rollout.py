"""The value without a gradient, the losses along a run, where it ended, and how it goes on from there."""

import metagrad as mg

task, rule, phi = mg.random_quadratics(count=4, d=5, seed=0), mg.Adam(), mg.Adam.Phi(0.05)
print("value", mg.value(task, rule, mg.LogFinal(), phi, steps=50).value)
losses, end = mg.rollout(task, rule, phi, steps=50, with_end=True)
print("losses", losses[[0, 50]].mean(axis=1), "after", end.t, "steps")
print("ten more", mg.rollout(task, rule, phi, steps=10, at=end)[-1].mean())
