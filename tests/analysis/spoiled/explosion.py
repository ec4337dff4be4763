"""What would be wrong with the evidence of `explosion`."""

NAN_IS_DATA = {"lower": "no lower bound applies: inside of the window, and between_bounds fails on one outside of it"}


def corruptions(config, arrays):
    """Return, for each check, arrays that are wrong in what it is about."""
    log10, engine, points = arrays["log10"], arrays["engine"], arrays["points"]
    flat, faster = engine.copy(), engine.copy()
    flat[-1] = engine[-2]  # nothing vanishes, nothing explodes
    faster[-1, points > 2] = 1.02 * engine[-1, points > 2]
    slower = engine.copy()
    slower[-1, points < 2] = engine[-1, points < 2] / 3
    window = arrays["window"].copy()
    window[-1] = window[-2]  # of constant width
    above = log10.copy()
    above[0, -1] = arrays["upper"][0, -1] + 0.1
    violations, error = arrays["violations"].copy(), arrays["engine_error"].copy()
    violations[1, 1] += 1
    error[-1, 0] = 1e-6
    return {
        "vanishing": {"engine": flat},
        "exploding": {"engine": faster},
        "rates": {"engine": slower},
        "window": {"window": window},
        "between_bounds": {"log10": above},
        "bounds": {"violations": violations},
        "engine": {"engine_error": error},
    }
