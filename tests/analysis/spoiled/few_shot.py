"""What is wrong with few_shot: a start that is no better than random ones, an alphabet trained on and tested."""

import numpy as np

from analysis.few_shot import BASELINES, EXPECTED, LEARNED, _key


def corruptions(config, arrays):
    """Return the spoiled arrays by check."""
    found = {}
    for k, shots in enumerate(config.shots):
        for name, other in EXPECTED:
            learned = arrays["learned"].copy()
            scores = arrays["baselines"][k, BASELINES.index(other)]
            learned[k, LEARNED.index(name), -1] = scores + 0.001 * np.cos(np.arange(scores.size)).reshape(scores.shape)
            found[f"{_key(name)}_over_{_key(other)}_{shots}"] = {"learned": learned}
    used = arrays["used"].copy()
    used[0, 0, 0, 0] = True  # one run trained on all alphabets
    return found | {"apart": {"used": used}}
