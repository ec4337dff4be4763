"""Runs that stopped early, starts that coincide or go at another speed, and expansions with other coefficients."""

import numpy as np

METHODS = ("maml", "fomaml", "reptile")


def corruptions(config, arrays):
    found = {}
    for i, name in enumerate(METHODS):
        paths = arrays["paths"].copy()
        paths[i, 1, -1] += 1e-9
        found[f"ends_{name}"] = {"paths": paths}
        errors = arrays["errors"].copy()
        errors[:, i] *= np.array(config.small) ** -0.15  # of the order 1.85
        found[f"slope_{name}"] = {"errors": errors}
        rates = arrays["rates"].copy()
        rates[0, i, -1] *= 1.01
        found[f"rate_{name}"] = {"rates": rates}
    same, closed = arrays["paths"].copy(), arrays["closed"].copy()
    same[1, -1], closed[1, -1] = same[0, -1], closed[0, -1]
    found["apart"] = {"paths": same, "closed": closed}
    for i, name in ((0, "maml"), (2, "reptile")):
        fast, closed, joint = arrays["paths"].copy(), arrays["closed"].copy(), arrays["joint"]
        for array, at in ((fast, (i, 0, -1)), (closed, (i, 0))):
            array[at] += 0.05 * (array[at] - joint)
        found[f"speed_{name}"] = {"paths": fast, "closed": closed}
    return found
