"""Both ways of tuning alike or exchanged, a large gap with many samples, and curves that leave the limit."""

import numpy as np


def corruptions(config, arrays):
    few = [n <= config.d for n in config.samples]
    found = {}
    for row, n in enumerate(config.samples):
        if few[row]:
            for k, by in enumerate(("train", "validation")):  # tuning on the other samples does no harm, or no good
                excess = arrays["excess"].copy()
                excess[row, 0, k] = 0.01 * (-1) ** k * -1
                found[f"{by}_{n}"] = {"excess": excess}
        else:  # training is 8 % worse
            difference = arrays["difference"].copy()
            difference[row, 0] = 0.08 * arrays["rmse"][row, 1, 1, -1]
            found[f"same_{n}"] = {"difference": difference}
    chosen = arrays["chosen"].copy()
    chosen[0, 0] *= 10**0.5  # two points of the grid
    found["step_sizes"] = {"chosen": chosen}
    for k, key in enumerate(("limit_seen", "limit")):
        rmse = arrays["rmse"].copy()
        rmse[1, k] *= 1.3 if key == "limit_seen" else 1.15
        found[key] = {"rmse": rmse}
    return {key: {name: np.asarray(x) for name, x in changed.items()} for key, changed in found.items()}
