"""No c for most tasks, a plateau of one c, and a c that serves the naive objective."""

import numpy as np


def corruptions(config, arrays):
    share, naive = arrays["log_all_starts"], arrays["naive_all_starts"]
    narrow = np.where(np.arange(len(share)) == np.argmax(share), share, 0.5 * share)
    naive[len(naive) // 2] = 0.3
    return {
        "log_share": {"log_all_starts": 0.6 * share},
        "log_decades": {"log_all_starts": narrow},
        "naive_share": {"naive_all_starts": naive},
    }
