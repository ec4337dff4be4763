"""What is wrong with intermediates, check by check: shares that differ, other powers, plain floats lost elsewhere."""

import numpy as np

from analysis.intermediates import DTYPES, WORDS


def corruptions(config, arrays):
    """Return the spoiled arrays by check."""
    found = {}
    for index, word in enumerate(WORDS):
        drift = 1e-8 * np.arange(config.steps)
        found[f"{word}_spread"] = {"share": _at(arrays["share"], index, drift)}
        found[f"{word}_sizes"] = {"engine_adjoint": _at(arrays["engine_adjoint"], index, 1e-6)}
        sign = 1 if word == "expanding" else -1
        slower = -0.03 * sign * arrays["k"]  # mu itself is off by 7 %
        found[f"{word}_power_state"] = {"engine_state": _at(arrays["engine_state"], index, slower)}
        found[f"{word}_power_adjoint"] = {"engine_adjoint": _at(arrays["engine_adjoint"], index, -slower)}
        for name in DTYPES:
            lost = arrays[f"lost_{name}"].copy()
            lost[index] = 1 - lost[index]
            found[f"{word}_lost_{name}"] = {f"lost_{name}": lost}
    return found


def _at(x, index, shift):
    x = x.copy()
    x[index] += shift
    return x
