"""Wrong results of learned_eta: some step sizes that were not learned, another order, another constant."""

from __future__ import annotations


def corruptions(config, arrays):
    """Return what is wrong, check by check."""
    learned = arrays["learned"].copy()
    learned[0, ::5] *= 1.01  # a fifth of the tasks is not there yet, at one horizon
    slower = arrays["far_gap"].copy()
    slower[1] = slower[0] * (arrays["far"][0] / arrays["far"][1]) ** 0.9  # in place of 1
    return {
        "learned": {"learned": learned},
        "order": {"far_gap": slower},
        "constant": {"constant": 1.02 * arrays["constant"]},
    }
