"""Meta-SGD: a start and a step size for every weight of a network, learned side by side; ANIL's mask beside it."""

import numpy as np

import metagrad as mg

family = mg.Sinusoids.maml(count=25, net=mg.MLP((1, 16, 1), "tanh", "fan_in"))
start = mg.LearnedStart(family(0)).first()
only_head = mg.Masked(mg.GradientDescent(), (False, False, True, True))  # ANIL: the first layer does not adapt
for name, rule in (("all weights", mg.GradientDescent()), ("the head", only_head)):
    phi = mg.Joint(rule.Phi(mg.ad.tree_map(lambda leaf: np.full(leaf.shape, 0.1), start)), start)
    outer = mg.Through(mg.Adam(), mg.Adam.Phi(0.01))
    state = outer.init(phi)
    for k in range(1, 151):
        ask = mg.LearnedStart(family(k)), rule, mg.Final("validation"), phi
        phi, state, _ = outer.step(phi, state, mg.meta_gradient(*ask, steps=1), k)
        phi = phi._replace(rule=rule.project(phi.rule))
    after = mg.value(mg.LearnedStart(family(1000)), rule, mg.Final("validation"), phi, steps=1).value.to_float()
    sizes = np.concatenate([leaf.ravel() for leaf in phi.rule.eta])
    print(f"{name} adapt: query error {after.mean():.2f}, step sizes {sizes.min():.3f} to {sizes.max():.3f}")
