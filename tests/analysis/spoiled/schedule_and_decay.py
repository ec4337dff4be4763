"""What would be wrong with steps and decay."""

import numpy as np


def corruptions(config, arrays):
    risk, alone, theory = (arrays[f"limit_{name}"] for name in ("risk", "alone", "alone_theory"))
    four = list(arrays["steps"]).index(4)

    def at_four(values, by):
        other = values.copy()
        other[four] += by
        return other

    slow = arrays["limit_log_excess"] * 0.9  # falls by a tenth less
    reached, stalled = arrays["edge_alone"].copy(), arrays["edge_alone"].copy()
    reached[0, 1] = arrays["edge_best"][0, 1]  # steps alone suffice beyond the boundary
    stalled[-1, 0] *= 1 + 1e-6  # and do not below it
    found = {
        "least": {"limit_risk": risk + 1e-7},
        "four_steps": {"limit_risk": at_four(risk, 2e-8)},
        "rate": {"limit_log_excess": slow},
        "alone": {"limit_alone": at_four(alone, -1e-4)},
        "stalls": {"limit_alone": risk + 0.001},
        "theory_alone": {"limit_alone_theory": theory - 1e-6},
        "below": {"edge_alone": stalled},
        "above": {"edge_alone": reached},
        "finite_gain": {"finite": arrays["finite"][..., ::-1]},
        "real_decay": {"errors": arrays["errors"] * np.array([1.0, 1.0, 1.2])},
    }
    for k, d in enumerate(config.dimensions):
        off = arrays["finite"].copy()
        off[k, :, 0] += 0.1
        found[f"finite_{d}"] = {"finite": off}
    return found
