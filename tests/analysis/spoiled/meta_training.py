"""What is wrong with meta_training, check by check: a cure that does not cure, a failure that does no harm."""

import numpy as np

from analysis.meta_training import ARMS, CURES, EXACT, NAIVE, PLAIN, PLAIN_32, STOPPED


def corruptions(config, arrays):
    """Return the spoiled arrays by check."""
    found = {}
    for name, arm in CURES.items():
        found[f"{name}_error"] = {"eta": _with(arrays["eta"], arm, 0.8 * arrays["best"])}
        found[f"{name}_lost"] = {"lost": _with(arrays["lost"], arm, 0.9)}
    for name, factor in (("scaled", 1e6), ("scaled32", 1e4)):
        found[f"{name}_off"] = {
            "off": _with(arrays["off"], CURES[name], factor * arrays["off"][ARMS.index(CURES[name])])
        }
    most = np.arange(config.tasks) % 10 < 8  # 80 % of the tasks
    at_exact = arrays["lost"][ARMS.index(EXACT)]
    return found | {
        "defects": {"ended": _with(arrays["ended"], PLAIN_32, 0.0)},
        "range": {"ended": _with(arrays["ended"], PLAIN_32, most.astype(float))},
        "range_float64": {"ended": _with(arrays["ended"], PLAIN, (~most).astype(float))},
        "bias": {"eta": _with(arrays["eta"], STOPPED, 1.01 * arrays["best"])},
        "bias_lost": {"lost": _with(arrays["lost"], STOPPED, at_exact + 0.5)},
        "outer_step": {"eta": _with(arrays["eta"], NAIVE, np.where(most, 5.0, 1.02) * arrays["best"])},
        "outer_step_lost": {"lost": _with(arrays["lost"], NAIVE, at_exact)},
    }


def _with(x, arm, values):
    """Return x with the values of one arm, from every start."""
    x = x.copy()
    x[ARMS.index(arm)] = values
    return x
