"""What would be wrong with the ways to tune."""


def corruptions(config, arrays):
    etas, objective, fresh, median = (arrays[name] for name in ("etas", "objective", "fresh", "median"))

    def tuned(tuner, factor):
        off = etas.copy()
        off[-1, 0, tuner] *= factor
        return {"etas": off}

    def scheduled(by, gained):
        other = objective.copy()
        other[0, by, 3] = other[0, by, 2] - gained
        return {"objective": other}

    def risk(by, values):
        other = median.copy()
        other[arrays["ratios"].argmin(), by, 2, 2] = values
        return {"median": other}

    learns = fresh.copy()
    learns[0, 0, 3, 2] = 0.95 * learns[0, 0, 2, 2]  # the schedule has less risk on each task
    return {
        "gradient": tuned(0, 1.5),  # stopped before it was there
        "grid": tuned(1, 10**0.5),  # two further
        "train_schedule": scheduled(0, 0.2),
        "validation_schedule": scheduled(1, -0.1),  # an outer loop that did not converge gains nothing either
        "schedule_risk": {"fresh": learns},
        "few_train": risk(0, [1.05, 0.97, 1.13]),  # not decided
        "few_validation": risk(1, [0.96, 0.91, 1.01]),
        "alone": {"limit": arrays["limit"] * [1, 0.99, 1]},
        "decay": {"limit": arrays["limit"][:, [0, 1, 1]]},  # decay adds nothing
    }
