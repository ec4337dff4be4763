"""Wrong results of sgd_phase: runs beside their moments, boundaries that move or do not, and rise in place of fall."""

from __future__ import annotations

import numpy as np

from analysis import sgd_phase


def corruptions(config, arrays):
    """Return what is wrong, check by check."""
    return _of_runs(arrays) | _of_inputs(config, arrays["pseudo"]) | _of_limit(arrays)


def _of_runs(arrays):
    off = arrays["gain_exact"].copy()
    off[0, 0] = arrays["gain_interval"][0, 0, 1] + 0.01  # one gain just beside its interval
    turned = arrays["gain_interval"].copy()
    turned[-1, 0] = [-0.1, 0.3]  # much noise, and it is not decided that validation wins
    rounding = arrays["all_at_once"].copy()
    rounding[0] = 1e-7
    return {"runs": {"gain_exact": off}, "sides": {"gain_interval": turned}, "all_at_once": {"all_at_once": rounding}}


def _of_inputs(config, pseudo):
    """Return boundaries at finite d that another batch or d moves too far, or epochs or SGD's noise not at all."""
    found = {}
    for key, shift in (
        ("batches", 1.5 * (config.batches[1] - config.batches[0]) / config.d),
        ("dimension", 3 / config.d),
    ):
        moved = pseudo.copy()
        moved[:, 1 if key == "batches" else 0] += shift
        found[key] = {"pseudo": moved}
    scatter = 0.01 * np.sin(np.arange(pseudo.shape[-1]))  # as inputs do where the effect is absent
    still, same = pseudo.copy(), pseudo.copy()
    still[:, 0, -1] = pseudo[:, 0, 0] + scatter
    same[:, 0] = pseudo[:, config.batches.index(sgd_phase.FULL)] + scatter
    return found | {"exact_epochs": {"pseudo": still}, "exact_few": {"pseudo": same}, "exact_many": {"pseudo": same}}


def _of_limit(arrays):
    """Return maps in which epochs change nothing, or help train-by-train, or few samples most; or SGD is no calmer."""
    still, rising, early, few, loud = (arrays["sgd"].copy() for _ in range(5))
    still[-1] = still[0]
    rising[[0, -1]] = rising[[-1, 0]]
    early[-1, 0, 0] *= 1.12  # at the fewest samples the epochs spoil train-by-train more than anywhere
    few[0, 1:] *= 1.3
    loud[-1, 0] *= 1.3
    return {
        "epochs": {"sgd": still},
        "epochs_less": {"sgd": rising},
        "epochs_at": {"sgd": early},
        "few": {"sgd": few},
        "many": {"sgd": loud},
        "calm": {"sgd": loud},
    }
