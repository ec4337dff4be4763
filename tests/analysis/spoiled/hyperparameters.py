"""Errors of the tuned models that are too large or too small, and searches that took too long."""

from analysis.hyperparameters import MANY_INPUTS, NETWORK_TUNERS, OVERFITS, TUNERS


def corruptions(config, arrays):
    found = {f"one_{name}": _errors(arrays, name, "one", "sklearn", 1.08) for name in config.blocks}
    found |= {f"long_{name}": _errors(arrays, name, "long", "one", 0.99) for name in OVERFITS if name in config.blocks}
    found["random"] = {}
    for name in config.blocks:
        found["random"] |= _errors(arrays, name, "random", "one", 0.99)
    found["work_grid"] = _passes(arrays, next(iter(config.blocks)), "grid")
    found |= {f"work_{name}": _passes(arrays, name, "sklearn") for name in MANY_INPUTS if name in config.blocks}
    at = NETWORK_TUNERS.index
    for tuner in ("sklearn", "grid"):
        errors = arrays["errors_network"].copy()
        errors[at(tuner)] = 0.99 * errors[at("gradient")]
        found[f"network_{tuner}"] = {"errors_network": errors}
    return found


def _errors(arrays, name, one, other, factor):
    errors = arrays[f"errors_{name}"].copy()
    errors[TUNERS.index(one)] = factor * errors[TUNERS.index(other)]
    return {f"errors_{name}": errors}


def _passes(arrays, name, other):
    passes = arrays[f"passes_{name}"].copy()
    passes[TUNERS.index(other)] = passes[TUNERS.index("one")]
    return {f"passes_{name}": passes}
