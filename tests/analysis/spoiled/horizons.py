"""Horizons as wrong predictions would have them."""

import numpy as np


def corruptions(config, arrays):
    """Measure, in turn, what a prediction without the factor t, or of the state alone, and a wider range would say."""
    expanding, log_a = arrays["etas"] > 2, np.log(np.abs(1 - arrays["etas"]))
    plain, log = arrays["plain_measured"], arrays["log_measured"]
    without_t = np.where(expanding, np.round(plain + np.log(plain) / (2 * log_a)), plain)
    of_state = np.where(expanding, 2 * log, log)
    return {
        "plain_overflow": {"plain_measured": without_t},
        "log_overflow": {"log_measured": of_state},
        "plain_underflow": {"plain_measured": np.where(expanding, plain, np.round(1.1 * plain))},
        "log_underflow": {"log_measured": np.where(expanding, log, np.round(0.8 * log))},
    }
