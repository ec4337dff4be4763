"""What would be wrong with no free lunch."""


def corruptions(config, arrays):
    def changed(name, where, by):
        x = arrays[name].copy()
        x[where] = x[where] + by
        return {name: x}

    return {
        "algorithms": changed("algorithms", -1, -1),  # two are the same
        "spread": changed("spread", -1, 1),  # one sequence comes once more
        "closed_32": changed("counted", (0, 0), 1),
        "closed_42": changed("counted", (1, 0), -1),
        "closure": changed("counted", (1, 2), 1),  # as many, but others
        "all_balance": changed("imbalance", 1, 1e-6),
        "balance": changed("total_3", -1, 1e-6),
        "shortfall": changed("best_2", 0, 0.05),  # stopped too early
        "gain": {"gain_2": 0 * arrays["gain_2"] - 0.01},
        "rest": {"gain_3": 0 * arrays["gain_3"] + 0.01},
        "closed_gain": changed("gain_closed", (-1, 3, 0), 1e-3),
        "closed_gradient": changed("slope_closed", 3, 1e-3),
    }
