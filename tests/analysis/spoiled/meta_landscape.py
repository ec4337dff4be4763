"""Wrong results of the experiment meta_landscape, a check each."""


def corruptions(config, arrays):
    """Return for each check the arrays that take the place of those of the saved table."""
    names = ("disagreement", "mean", "gain", "best", "risk", "points_limit", "compared")
    wrong, mean, gain, best, risk, limit, near = (arrays[name].copy() for name in names)
    wrong[1] = 1e-6  # an engine in single precision
    at = tuple(part[-1] for part in near.nonzero())
    mean[at] *= 1.5  # one point of another loss
    without = arrays["mean"].copy()
    without[..., 1] = limit[::-1, ..., 1]  # meta-gradients of the other number of samples
    nothing, other = gain.copy(), gain.copy()
    nothing[1, 0] = -0.01  # the training loss as small at the small step size
    other[0, 1] = -0.05  # the held-out loss no larger at the large one
    near_best, harmless, useless = best.copy(), risk.copy(), risk.copy()
    near_best[:, 0] = 5 * best[:, 1]
    harmless[0, 0], useless[0, 1] = 0.95, 1.05
    return {
        "engine": {"disagreement": wrong},
        "losses": {"mean": mean},
        "slopes": {"mean": without},
        "train_gain": {"gain": nothing},
        "held_out_gain": {"gain": other},
        "step_sizes": {"best": near_best},
        "edge": {"best": 0.5 * arrays["best"]},
        "risk_train": {"risk": harmless},
        "risk_validation": {"risk": useless},
    }
