"""What would be wrong with Adam tuned, and with what it is compared with."""

LOG_END, END, PATH = range(3)


def corruptions(config, arrays):
    rules = ("start", "grid", *config.tuned)
    grid, eta, tuned = (rules.index(name) for name in ("grid", "eta", "all"))
    mean, search, chosen, best = (arrays[name] for name in ("mean", "search", "chosen", "grid_eta"))
    own = search[0].mean(axis=-1)

    def moved(rule, measure, values):
        """A rule with other means, whose differences between tunings stay."""
        other = mean.copy()
        other[rule, measure] += values.mean() - other[rule, measure].mean()
        return {"mean": other}

    def alone(factor):
        other = chosen.copy()
        other[config.tuned.index("eta"), :, 0] *= factor
        return {"chosen": other}

    half = search.copy()
    half[0, PATH] += ((mean[grid, PATH] + mean[tuned, PATH]) / 2 - own[PATH])[:, None]
    left, at_the_end = arrays["raw_left"], best.copy()
    left[-1] = 0
    at_the_end[0, PATH] = arrays["grid"][-1]
    return {
        "all_less_grid_log_end": moved(tuned, LOG_END, mean[grid, LOG_END]),  # nothing is gained
        "all_less_grid_log_path": moved(tuned, PATH, mean[grid, PATH]),
        "search_less_grid_end": moved(grid, END, own[END]),
        "search_less_grid_log_path": moved(grid, PATH, own[PATH]),
        "all_less_search_end": moved(tuned, END, own[END]),
        "all_less_eta_log_end": moved(tuned, LOG_END, mean[eta, LOG_END]),
        "eta_share": moved(eta, PATH, 0.8 * mean[grid, PATH] + 0.2 * mean[tuned, PATH]),  # a fifth of the gain
        "search_share": {"search": half},  # a search that gains half
        "tuned_alone": alone(2.0),
        "raw_left": {"raw_left": left},  # one tuning stays in its range
        "inside_grid": {"grid_eta": at_the_end},
    }
