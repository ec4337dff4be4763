"""The two choices exchanged, a cost of 8 %, training that beats w = 0, and validation that needs no limit."""

import numpy as np

from analysis._real_problems import PROBLEMS
from analysis.real_data import LOSES


def corruptions(config, arrays):
    found, of = {}, {name: arrays["problem"] == k for k, name in enumerate(PROBLEMS)}
    n, TRAIN, VALIDATION = arrays["n"], 0, 1
    for name, about in PROBLEMS.items():
        found[f"near_{name}"] = _exchanged(arrays, of[name] & (n <= config.near * about.inputs))
        many = of[name] & (n >= config.far * about.inputs)
        if name == LOSES:
            found[f"most_{name}"] = _exchanged(arrays, of[name] & (n == n[of[name]].max()))
            continue
        if many.any():
            errors = arrays["errors"].copy()
            errors[many, :, VALIDATION] = 1.08 * errors[many, :, TRAIN]
            found[f"far_{name}"] = {"errors": errors}
        errors, at = arrays["errors"].copy(), np.flatnonzero(of[name] & (n == about.inputs))[0]
        errors[at, :, TRAIN, -1] = 0.9 * arrays["nothing"][at]
        found[f"harm_{name}"] = {"errors": errors}
    wild = arrays["errors"].copy()
    wild[:, ::50, VALIDATION] = 1000.0
    found["limited"] = {"errors": wild}
    found["unlimited"] = {"free_log10": np.minimum(arrays["free_log10"], np.float32(0.5))}
    return found


def _exchanged(arrays, rows):
    errors = arrays["errors"].copy()
    errors[rows, :, :2] = errors[rows, :, 1::-1]
    return {"errors": errors}
