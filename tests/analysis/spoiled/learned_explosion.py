"""What would be wrong with the evidence of `learned_explosion`."""

import numpy as np

_CASES = ("regression_raw", "regression_log-sign", "floor_raw", "floor_log-sign", "digits_log-sign")
_LOG_SIGN = tuple(case for case in _CASES if case.endswith("log-sign"))
_RAW = ("regression_raw", "floor_raw")
_PLAIN, _LOG, _EXCESS = (0, 0), (0, 1), (0, 2)  # kind and objective


def corruptions(config, arrays):
    """Return, for each check, arrays that are wrong in what it is about."""

    def slopes(cases, at, change):
        found = {f"{case}_slopes": arrays[f"{case}_slopes"].copy() for case in cases}
        for x in found.values():
            x[at] = change(x)
        return found

    def of(names, change):
        return {name: change(arrays[name]) for name in names}

    def entry(name, at, value):
        x = arrays[name].copy()
        x[at] = value
        return {name: x}

    capped = {name: arrays[name].copy() for name in (f"{case}_log10" for case in _LOG_SIGN)}
    for x in capped.values():
        x[_LOG] = x[0, 1, :1]  # of the size that it had at the first horizon
    plain, loss, T = arrays["digits_shipped_log10"], arrays["digits_shipped_loss"], arrays["digits_horizons"]
    noise = 0.5 * (-1.0) ** np.arange(plain.shape[1])
    still, cured = plain.copy(), loss.copy()
    still[-1] = plain[0] + noise  # no growth, but noise
    cured[-1] = loss[0] + plain[-1] - plain[0] - np.log10(T[-1] / T[0]) + noise  # the loss grows as the gradient does
    return {
        "descent_plain": slopes(["regression_descent"], _PLAIN, lambda x: 0.8 * x[_PLAIN]),
        "descent_floor_plain": entry("floor_descent_slopes", (*_PLAIN, 0), -0.01),
        "descent_floor_log": slopes(["floor_descent"], _LOG, lambda x: x[_EXCESS]),
        "descent_cured": slopes(["regression_descent"], _LOG, lambda x: 0.1 * x[_PLAIN]),
        "scaled_lost": entry("floor_raw_log10", (*_PLAIN, -1, 0), np.inf),
        "engines_apart": entry("floor_log-sign_log_error", 1, 1e-5),
        "silent": entry("digits_log-sign_lost", (2, 0), True) | entry("digits_log-sign_status", (1, 0), 0),
        "bound": capped,
        "lyapunov_rate": of([f"{case}_lyapunov" for case in _CASES], lambda x: 0.4 * x),
        "lyapunov_apart": slopes(_CASES, _PLAIN, lambda x: x[_PLAIN] + 0.02),
        "log_on_plain": slopes(_CASES, _LOG, lambda x: 0.02 * x[_PLAIN]),
        "log_excess_on_plain": slopes(_CASES, _EXCESS, lambda x: -0.5 * x[_PLAIN]),
        "mean_log_on_plain": of([f"{case}_mean_log_slopes" for case in _CASES], lambda x: 0.3 * x),
        "stop_gradient_on_plain": slopes(_CASES, (1, 0), lambda x: 0.9 * x[_PLAIN]),
        "exploding": slopes(_LOG_SIGN, _PLAIN, lambda x: 0.1 * x[_PLAIN]),
        "exploding_log": slopes(_LOG_SIGN, _LOG, lambda x: 0.1 * x[_PLAIN]),
        "exploding_log_excess": slopes(_LOG_SIGN, _EXCESS, lambda x: 0.1 * x[_PLAIN]),
        "exploding_raw": slopes(_RAW, _PLAIN, lambda x: x[_PLAIN] + 0.03),
        "digits_shipped_plain": {"digits_shipped_log10": still},
        "digits_shipped_log": {"digits_shipped_loss": cured},
        "floor_shipped_plain": slopes(["floor_shipped"], _PLAIN, lambda x: 0.2 * x[_PLAIN]),
        "floor_shipped_log": slopes(["floor_shipped"], _LOG, lambda x: 0.2 * x[_LOG]),
        "floor_shipped_log_apart": slopes(["floor_shipped"], _LOG, lambda x: x[_EXCESS]),
        "floor_shipped_log_excess": slopes(["floor_shipped"], _EXCESS, lambda x: x[_PLAIN]),
    }
