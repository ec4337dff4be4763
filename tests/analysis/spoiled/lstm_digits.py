"""Losses with which the LSTM would not be what the claim says: a baseline that is as good, or worse ones in test."""

from analysis._digit_networks import MEASURES


def corruptions(config, arrays):
    """Let the best-scoring baseline of each measure come level with the LSTM; in test at the end, let the LSTM lead."""
    found = {}
    for row, case in enumerate(config.cases):
        name = case.removeprefix("trained_")
        for k, measure in enumerate(MEASURES):
            scores = arrays["scores"].copy()
            lstm = scores[row, 0, k].copy()
            if (name, measure) == ("few", "test_end"):
                scores[row, 0, k] = 0.98 * scores[row, 1:, k].min(axis=0)
            else:
                scores[row, 6, k] = lstm[::-1]  # of its size, and not of the same networks
            found[f"{name}_{measure}"] = {"scores": scores}
    decided = ("few_train_path", "few_train_end", "few_test_end", "many_train_path", "many_test_path")
    return {key: found[key] for key in decided}
