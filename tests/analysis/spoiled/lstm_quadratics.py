"""An LSTM above the schedules, a bound that is none, rules that read the task and are beaten, a mean of all tasks."""

from analysis.lstm_quadratics import BB, BOUND, CG, RULES


def corruptions(config, arrays):
    mean, bound, ahead = arrays["mean"], arrays["mean"].copy(), arrays["ahead"]
    solved = mean.copy()
    bound[RULES.index(BOUND), 1:] *= 2  # another measure than that of the tasks
    solved[RULES.index(CG)] = mean[RULES.index(BB)]
    ahead[RULES.index(BB), 1] = 0.4 * arrays["tasks"]
    worst, worst_interval, inside = arrays["worst"], arrays["worst_interval"], arrays["inside"]
    worst[2], worst_interval[:, 2] = 0.4, (0.35, 0.46)
    inside[3] = False
    scaled = {
        key: {name: arrays[name] * factor for name in (over, f"{over}_interval")}
        for key, over, factor in (
            ("below_schedules", "over_bound", 1.25),  # the interval of the worst LSTM holds 1
            ("below_tuned", "over_tuned", 1.5),
            ("below_hindsight", "over_hindsight", 1.5),
        )
    }
    early, early_interval = arrays["over_bound"].copy(), arrays["over_bound_interval"].copy()
    early[:, 0] *= 1.2  # at the first time alone
    early_interval[..., 0] *= 1.2
    return scaled | {
        "below_schedules_before": {"over_bound": early, "over_bound_interval": early_interval},
        "bound_of_theory": {"mean": bound},
        "cg": {"mean": solved},
        "bb_ahead": {"ahead": ahead},
        "worst_share": {"worst": worst, "worst_interval": worst_interval},
        "inside_grid": {"inside": inside},
    }
