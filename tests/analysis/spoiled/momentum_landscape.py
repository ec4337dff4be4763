"""What would be wrong with the evidence of `momentum_landscape`."""

import numpy as np

from analysis.momentum_landscape import PAIRS


def corruptions(config, arrays):
    """Return, for each check, arrays that are wrong in what it is about."""
    off, slope, plain = arrays["engine_error"].copy(), arrays["at_polyak"], arrays["plain"].copy()
    off[1, 3] = 1e-5
    t = arrays["horizons"].astype(float)
    square, other = slope * (t / t[-1])[:, None], 1.05 * slope
    plain[-1] *= 2
    violations, grown, pole = arrays["violations"].copy(), arrays["complex"].copy(), arrays["pole"].copy()
    violations[0, 0] += 1
    grown[-1] *= 100
    pole[1] = -3
    row = {name: k for k, name in enumerate(PAIRS)}

    def lost(name, values):
        changed = arrays["lost"].copy()
        changed[row[name]] = values
        return {"lost": changed}

    polyak, alone = (arrays["lost"][row[name]] for name in ("Polyak's pair", "best step size alone"))
    return {
        "engine": {"engine_error": off},
        "growth": {"at_polyak": square},
        "growth_limit": {"at_polyak": other, "at_polyak_engine": 1.05 * arrays["at_polyak_engine"]},
        "plain_flat": {"plain": plain},
        "bounds": {"violations": violations},
        "complex_flat": {"complex": grown},
        "pole": {"pole": pole},
        "best_gap": lost("Polyak's pair", np.full_like(polyak, 0.1)),
        "learned_share": lost("learned from plain", polyak + 0.1),
        "learned_lost": lost("learned from plain", np.full_like(polyak, 4.0)),
        "learned_gain": lost("learned from plain", alone),
        "thrown": lost("learned from Polyak's", 0.5 * polyak),
    }
