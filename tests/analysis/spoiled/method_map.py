"""A scaled method that fails at long horizons, a plain one that does not, one range for all dtypes, a silent Status."""

import numpy as np

from analysis.method_map import METHODS


def corruptions(config, arrays):
    def shares(method, at, share):
        spoiled = arrays["share"].copy()
        spoiled[METHODS.index(method), at] = share
        return {"share": spoiled}

    rows = {name: METHODS.index(f"plain, {name}") for name in ("float64", "float32")}
    one_range = arrays["share"].copy()
    one_range[rows["float64"]] = one_range[rows["float32"]]
    return {
        "scaled_float64": shares("scaled, float64", -1, 0.975),
        "scaled_float32": shares("scaled, float32", -1, 0.975),
        "scaled_float16": shares("scaled, float16", slice(-4, None), 0.5),
        **{f"plain_{name}_longest": shares(f"plain, {name}", -1, 1.0) for name in ("float64", "float32", "float16")},
        "range_of_dtype": {"share": one_range},
        "public_code": shares("public code, float32", slice(0, 4), 1.0),
        "silent": {"flagged": np.zeros_like(arrays["flagged"])},
    }
