"""Wrong results of the experiment phase_diagram, a check each."""


def corruptions(config, arrays):
    """Return for each check the arrays that take the place of those of the saved table."""
    half, whole = (f"map_{k}_{config.steps[1]}" for k in range(2))
    average, sample, crossing = (arrays[name].copy() for name in ("average", "sample", "crossing"))
    average[1, 5, 0, 0] = 0.0  # equal risks at one point where they are not
    sample[5, 0, 1] += 0.7  # one point where twice the risk is reached
    as_far = arrays["average"].copy()
    as_far[1] = arrays["limit"] + 1.1 * (as_far[0] - arrays["limit"])
    crossing[crossing[:, 0] == 5, 1] = 25.0  # n/d = sigma^2
    early, one = (arrays[half].copy() for _ in range(2))
    early[0] = 2 * early[1]  # validation wins everywhere
    one[0] = one[1] / 2
    one[0, -1] = 2 * one[1, -1]  # with many samples alone
    lost = arrays[whole].copy()
    lost[0, -1, -1] = lost[1, -1, -1] / 2  # train wins in the corner of much noise
    return {
        "sizes": {"average": average},
        "falls": {"average": as_far},
        "samples": {"sample": sample},
        "boundary": {"crossing": crossing},
        "least_noise": {half: early},
        "band": {half: one},
        "all_samples": {whole: lost},
    }
