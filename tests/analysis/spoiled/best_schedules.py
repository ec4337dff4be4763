"""What would be wrong with schedules that gradient finds."""


def corruptions(config, arrays):
    line, starts = arrays["errors"].copy(), arrays["errors"].copy()
    line[0, -1, 0] = 1e-6  # stopped early
    starts[1, 2, 1] = 0.3  # another minimum
    return {
        "line": {"errors": line},
        "starts": {"errors": starts},
        "risk": {"risk": 1.001 * arrays["risk"]},
        "samples": {"samples": arrays["samples"] + 1e-7},
        "gain": {"constant": arrays["best"]},  # no gain at all
    }
