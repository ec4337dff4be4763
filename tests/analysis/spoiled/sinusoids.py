"""What would be wrong with learned starts for sine waves."""

from analysis.sinusoids import RATIOS


def corruptions(config, arrays):
    def ratio(key, values):
        other = arrays["ratio"].copy()
        other[[name for name, *_ in RATIOS].index(key)] = values
        return {"ratio": other}

    return {
        "reptile_random": ratio("reptile_random", [1.0, 0.97, 1.03]),  # nothing was learned
        "maml_random": ratio("maml_random", [0.94, 0.9, 0.98]),  # not decided
        "by_hand": ratio("by_hand", [2.2, 2.1, 2.3]),  # another number than without the engine
        "by_hand_smaller": ratio("by_hand_smaller", [0.5, 0.45, 0.55]),
    }
