"""What is wrong with loss_floor, check by check: other sizes, samples that tend elsewhere, steps that do not learn."""

import numpy as np

from analysis.loss_floor import ARMS, KINDS


def corruptions(config, arrays):
    """Return the spoiled arrays by check."""
    found = {
        "bound": {"t_engine": _put(arrays["t_engine"], (0, 0), arrays["t_bound"][0] + 0.01)},
        "engine": {"t_engine": arrays["t_engine"] + 1e-6},
        "plain_float64": {"t_plain": arrays["t_exact"] + 0.5},
        "rate_train": {"t_engine": _put(arrays["t_engine"], (-1, 0), 2 * arrays["t_engine"][-1, 0])},
        "rate_validation": {"t_engine": _put(arrays["t_engine"], (slice(None), 2), 0.0)},
        "excess_least": {"t_engine": _put(arrays["t_engine"], (-1, 1), -1.2)},
    }
    at = config.horizons.index(400)
    for index, kind in enumerate(KINDS):
        gaps = arrays["gaps"][index]
        aside, scatter = 0.15, gaps.std(axis=1, keepdims=True)
        found[f"limit_{kind}"] = {"t_limit": _put(arrays["t_limit"], (at, index), arrays["t_limit"][at, index] + 0.02)}
        found[f"tends_{kind}"] = {"gaps": _put(arrays["gaps"], index, gaps + aside)}
        found[f"narrows_{kind}"] = {"gaps": _put(arrays["gaps"], index, gaps / scatter * scatter[0])}
    paths = {arm: k for k, arm in enumerate(ARMS)}
    start, best = config.start, arrays["best"]

    def ends(kind, step, where):
        return {"path": _put(arrays["path"], (paths[kind, step], -1), where)}

    none = np.zeros_like(arrays["sign_off"])
    return found | {
        "gradient_steps": ends("validation", "gradient", start + 0.1 * (best[paths["validation", "gradient"]] - start)),
        "excess_steps": ends("excess", "gradient", 0.8 * best[paths["excess", "gradient"]]),
        "sign_steps": ends("validation", "sign", 0.0),  # stuck at the bound
        "sign_share": {"sign_off": np.where(np.arange(none.size) % 3 == 0, 0.1, none)},
        "fixed_margin": {"fixed_off": np.where(np.arange(len(arrays["scales"])) == 20, 0.0, arrays["fixed_off"])},
        "tossed_share": {"tossed": none + 0.3},
        "signs_scaled": {"right_scaled": np.where(np.arange(config.signs) % 10 == 0, 0.0, arrays["right_scaled"])},
        "signs_plain": {"right_plain": np.where(np.arange(config.signs) % 20 == 0, 0.0, 1.0)},
    }


def _put(x, at, values):
    x = x.copy()
    x[at] = values
    return x
