"""Splits that cost a start nothing or pay at once, a floor that is not there, and step sizes the other way round."""

import numpy as np


def corruptions(config, arrays):
    def ratio(name, at, interval):
        found = arrays[name].copy()
        found[(slice(None), *at)] = np.reshape(interval, (3,) + (1,) * (found[(slice(None), *at)].ndim - 1))
        return {name: found}

    exact = arrays["exact_start"].copy()
    exact[0, 1, 4] = 0.98 * exact[0, 1, 1]
    start, step, tied = arrays["start"].copy(), arrays["step"].copy(), arrays["tied"].copy()
    start[1, 1, 0] *= 3
    step[0, 2, 1] *= 1.2
    tied[-1, :, 0] *= 2.0
    few, many = arrays["tied_difference"].copy(), arrays["tied_difference"].copy()
    few[0], many[-1] = [0.001, -0.001, 0.003], [-0.001, -0.003, 0.0005]  # neither is decided
    noisy, clear = int(np.argmax(config.sigmas)), int(np.argmin(config.sigmas))
    return {
        "start_exact": {"exact_start": exact},
        "start_half": ratio("start_ratio", (0, 1, 0), [1.3, 0.95, 1.65]),
        "start_best": ratio("start_ratio", (1, slice(None), 1), [1.01, 0.93, 1.09]),
        "start_limits": {"start": start},
        "tied_few": {"tied_difference": few},
        "tied_many": {"tied_difference": many},
        "tied_limits": {"tied": tied},
        "step_noise": ratio("step_ratio", (noisy, 0), [0.96, 0.9, 1.02]),
        "step_clear": ratio("step_ratio", (clear, 2), [1.03, 0.99, 1.07]),
        "step_limits": {"step": step},
        "loop": {"loop": np.array([1e-7])},
    }
