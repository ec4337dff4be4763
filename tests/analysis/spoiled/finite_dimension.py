"""Wrong results of the experiment finite_dimension, a check each."""

import numpy as np


def corruptions(config, arrays):
    """Return for each check the arrays that take the place of those of the saved table."""
    deviation, law, mean, expected = (arrays[name] for name in ("deviation", "law", "mean", "expected"))
    narrow, slow, near, alike = law.copy(), deviation.copy(), deviation.copy(), mean.copy()
    narrow[1] = law[1] / 2  # half the spread: many X outside of the 95 % quantile
    slow[..., 0] *= np.sqrt(arrays["d"] / 50)[:, None, None]  # falls like the square root of d
    near[..., 0] /= 10  # as near to the limit as the risk is
    one = (0, 0, 0, 0, 1)
    alike[one] = expected[one] + 6 * arrays["error"][one]  # one mean of another average
    return {
        "median": {"deviation": 2 * deviation},
        "quantile": {"law": narrow},
        "largest_at_1000": {"law": 1.1 * law},
        "train_order": {"deviation": slow},
        "train_edge": {"deviation": near},
        "monte_carlo": {"mean": alike},
        "monte_carlo_mean": {"expected": 1.08 * expected},  # the averages of more noise
    }
