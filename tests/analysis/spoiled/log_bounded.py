"""What would be wrong with the evidence of `log_bounded`."""

import numpy as np


def corruptions(config, arrays):
    """Return, for each check, arrays that are wrong in what it is about."""
    slope, bound = arrays["slope"], arrays["global_bound"]
    largest = np.abs(slope).max(axis=1)
    beyond, small, grown = slope.copy(), 0.5 * slope, slope.copy()
    beyond[0, np.abs(slope[0]).argmax()] = 1.01 * bound[0]
    grown[-1] *= 1.2 * largest[-2] / largest[-1]
    loose, flat = bound.copy(), arrays["plain"].copy()
    loose[-1] = 1.1 * arrays["limit"]
    flat[-1] = -300, 300  # as much as floats hold
    violations, error = arrays["violations"].copy(), arrays["engine_error"].copy()
    violations[0, 0] += 1
    error[0, -1] = 1e-6
    return {
        "below_bound": {"slope": beyond},
        "largest": {"slope": small},
        "growth": {"slope": grown},
        "global_bound": {"global_bound": loose},
        "bounds": {"violations": violations},
        "engine": {"engine_error": error},
        "plain": {"plain": flat},
    }
