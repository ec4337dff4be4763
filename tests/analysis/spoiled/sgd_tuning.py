"""Wrong results of sgd_tuning: no overfitting, or much of it, held-out times that drift, runs beside theory."""

from __future__ import annotations

import numpy as np


def corruptions(config, arrays):
    """Return what is wrong, check by check."""
    risks, time, apart = arrays["risks"], arrays["time"].copy(), arrays["apart"].copy()
    time[0, 1, 0, -1] *= 1.4  # at one batch size training time is longer
    apart[0, 1, 0, 0] = 7.0
    runs_of_full_batches = arrays["full_batch"].copy()
    runs_of_full_batches[0, 0, config.batches.index(0), 1] = 1e-5
    calm, flat, fitted, drifts, costly = (risks.copy() for _ in range(5))
    calm[0, 0, 0, -1] = risks[0, 1, 0, -1]  # one batch size does not fit the noise
    flat[0, 0, :, 0] = risks[0, 0, :, -1] / 1.5  # it is fitted by one epoch almost as much
    fitted[0, 1, 1, -1] *= 1.3  # held-out samples do not keep from it
    drifts[-1, 1, -1, -1] *= 1.06  # risks of batch sizes come apart
    scatter = 1 + 0.2 * np.sin(np.arange(risks.shape[-1]))
    costly[-1, 0, :, -1] = 0.99 * risks[-1, 1, :, -1] * scatter  # both ways are alike with many samples
    return {
        "train_risk": {"risks": calm},
        "train_growth": {"risks": flat},
        "held_out_risk": {"risks": fitted},
        "held_out_time": {"time": time},
        "held_out_spread": {"risks": drifts},
        "many": {"risks": costly},
        "runs": {"apart": apart},
        "full_batches": {"full_batch": runs_of_full_batches},
    }
