"""What would be wrong with schedules that an adversary leads to."""

import numpy as np


def corruptions(config, arrays):
    two = int(np.flatnonzero(arrays["steps"] == 2)[0])
    three = int(np.flatnonzero(arrays["steps"] == 3)[0])

    def moved(name, at, factor):
        new = arrays[name].copy()
        new[at] = new[at] * factor
        return {name: new}

    return {
        "value_2": moved("certified", two, 1.003),
        "value_3": moved("certified", three, 1.01),  # stopped early
        "above": moved("certified", three, 0.999),  # no schedule is better
        "proof": moved("margin", two, -1.0),  # no proof at all
        "adversary": moved("value", three, 0.99),  # it has missed the worst function
        "bounded": moved("value", two, 1.001),  # above what is proved
        "gain_2": {"constant": arrays["minimax"]},
        "gain_3": {"constant": arrays["minimax"]},
        "silver_3": {"silver": arrays["minimax"][arrays["silver_horizons"] - 1]},
    }
