"""What is wrong with short_horizon, check by check: another bias, a gap that stays, runs of another law."""

import numpy as np

from analysis.short_horizon import SCHEDULES


def corruptions(config, arrays):
    """Return the spoiled arrays by check."""
    greedy, optimal = SCHEDULES.index("greedy"), SCHEDULES.index("optimal")
    half, one = config.looks.index(config.shown // 2), config.looks.index(1)
    last = arrays["losses"][config.horizons.index(config.shown)]
    stays = last[optimal] * np.linspace(last[greedy] / last[optimal], 1.5, len(config.looks))
    return {
        "bias_10": {"losses": _scaled(arrays["losses"], config.horizons.index(10), 1.01)},
        "bias_100": {"losses": _scaled(arrays["losses"], config.horizons.index(100), 1.01)},
        "rise": {"losses": _scaled(arrays["losses"], len(config.horizons) - 1, 0.4)},  # it falls at the end
        "limit": {"losses": np.where(np.arange(3) == 2, 1.001, 1.0) * arrays["losses"][:, [0, 1, 1]]},
        "alone": {"alone": arrays["alone"] + 1e-6},
        "early": {"shown_etas": arrays["shown_etas"][[optimal, greedy, 2]]},
        "leads": {"shown_losses": arrays["shown_losses"][[optimal, greedy, 2]]},
        "one_step": {"look_losses": _scaled(arrays["look_losses"], one, 1.001)},
        "further": {"look_losses": _scaled(arrays["look_losses"], half, 3.0)},
        "half": {"look_losses": stays},
        "slope": {"slope": arrays["slope"] + 1e-3},
        "runs": {"runs": arrays["losses"] + 6 * arrays["runs_error"]},
        "runs_error": {"runs_error": 2 * arrays["runs_error"]},
    }


def _scaled(x, row, factor):
    """Return x with the first entry of a row (the greedy schedule, or a look) times a factor."""
    x = x.copy()
    x[(row, 0) if x.ndim == 2 else row] *= factor
    return x
