"""The formulas of scipy.stats' distributions, in functions that can be traced: what a refusal says to write.

scipy.stats makes plain arrays of its arguments, so that its methods cannot be traced. `formula` returns the text of
code that can; the names in it are those of SciPy's arguments, and `special` is scipy.special.
"""

from __future__ import annotations

_LOG_2PI = "np.log(2 * np.pi)"
# Of the standard distribution, in z = (x - loc) / scale, or in q for ppf.
STANDARD: dict[str, dict[str, str]] = {
    "norm": {
        "logpdf": f"-(z**2) / 2 - {_LOG_2PI} / 2",
        "cdf": "special.ndtr(z)",
        "logcdf": "special.log_ndtr(z)",
        "sf": "special.ndtr(-z)",
        "logsf": "special.log_ndtr(-z)",
        "ppf": "special.ndtri(q)",
    },
    "expon": {"logpdf": "-z", "cdf": "-np.expm1(-z)", "sf": "np.exp(-z)", "logsf": "-z", "ppf": "-np.log1p(-q)"},
    "gamma": {"logpdf": "special.xlogy(a - 1, z) - z - special.gammaln(a)"},
    "beta": {"logpdf": "special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z) - special.betaln(a, b)"},
    "t": {
        "logpdf": (
            "special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - np.log(df * np.pi) / 2 "
            "- (df + 1) / 2 * np.log1p(z**2 / df)"
        )
    },
    "laplace": {
        "logpdf": "-np.abs(z) - np.log(2)",
        "cdf": "np.where(z < 0, np.exp(-np.abs(z)) / 2, 1 - np.exp(-np.abs(z)) / 2)",
        "sf": "np.where(z > 0, np.exp(-np.abs(z)) / 2, 1 - np.exp(-np.abs(z)) / 2)",
        "ppf": "np.where(q < 0.5, np.log(2 * q), -np.log(2 - 2 * q))",
    },
    "logistic": {
        "logpdf": "special.log_expit(z) + special.log_expit(-z)",
        "cdf": "special.expit(z)",
        "logcdf": "special.log_expit(z)",
        "sf": "special.expit(-z)",
        "logsf": "special.log_expit(-z)",
        "ppf": "np.log(q) - np.log1p(-q)",
    },
    "lognorm": {
        "logpdf": f"-(np.log(z) ** 2) / (2 * s**2) - np.log(s * z) - {_LOG_2PI} / 2",
        "cdf": "special.ndtr(np.log(z) / s)",
        "logcdf": "special.log_ndtr(np.log(z) / s)",
        "sf": "special.ndtr(-np.log(z) / s)",
        "logsf": "special.log_ndtr(-np.log(z) / s)",
        "ppf": "np.exp(s * special.ndtri(q))",
    },
    "uniform": {"logpdf": "np.where((z >= 0) & (z <= 1), 0.0, -np.inf)", "cdf": "np.clip(z, 0, 1)", "ppf": "q"},
    "cauchy": {
        "logpdf": "-np.log(np.pi) - np.log1p(z**2)",
        "cdf": "0.5 + np.arctan(z) / np.pi",
        "sf": "0.5 - np.arctan(z) / np.pi",
        "ppf": "np.tan(np.pi * (q - 0.5))",
    },
    "chi2": {"logpdf": "special.xlogy(df / 2 - 1, z) - z / 2 - special.gammaln(df / 2) - df / 2 * np.log(2)"},
    "halfnorm": {
        "logpdf": "np.log(2 / np.pi) / 2 - z**2 / 2",
        "cdf": "special.erf(z / np.sqrt(2))",
        "sf": "special.erfc(z / np.sqrt(2))",
    },
    "pareto": {
        "logpdf": "np.log(b) - (b + 1) * np.log(z)",
        "cdf": "1 - z**-b",
        "sf": "z**-b",
        "logsf": "-b * np.log(z)",
        "ppf": "(1 - q) ** (-1 / b)",
    },
    "weibull_min": {
        "logpdf": "np.log(c) + special.xlogy(c - 1, z) - z**c",
        "cdf": "-np.expm1(-(z**c))",
        "sf": "np.exp(-(z**c))",
        "logsf": "-(z**c)",
        "ppf": "(-np.log1p(-q)) ** (1 / c)",
    },
    "gumbel_r": {
        "logpdf": "-z - np.exp(-z)",
        "cdf": "np.exp(-np.exp(-z))",
        "logcdf": "-np.exp(-z)",
        "sf": "-np.expm1(-np.exp(-z))",
        "ppf": "-np.log(-np.log(q))",
    },
}
# Of counts k, and of vectors.
OTHERS: dict[str, dict[str, str]] = {
    "poisson": {"logpmf": "special.xlogy(k, mu) - mu - special.gammaln(k + 1)"},
    "bernoulli": {"logpmf": "special.xlogy(k, p) + special.xlog1py(1 - k, -p)"},
    "binom": {
        "logpmf": (
            "special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1) "
            "+ special.xlogy(k, p) + special.xlog1py(n - k, -p)"
        )
    },
    "geom": {
        "logpmf": "np.log(p) + special.xlog1py(k - 1, -p)",
        "cdf": "1 - (1 - p) ** k",
        "sf": "(1 - p) ** k",
        "logsf": "k * np.log1p(-p)",
    },
    "nbinom": {
        "logpmf": (
            "special.gammaln(k + n) - special.gammaln(k + 1) - special.gammaln(n) "
            "+ special.xlogy(n, p) + special.xlog1py(k, -p)"
        )
    },
    "multivariate_normal": {
        "logpdf": (
            "-np.sum((x - mean) * np.linalg.solve(cov, (x - mean).T).T, axis=-1) / 2 "
            f"- np.linalg.slogdet(cov)[1] / 2 - len(cov) * {_LOG_2PI} / 2"
        )
    },
    "dirichlet": {
        "logpdf": (
            "np.sum(special.xlogy(alpha - 1, x)) + special.gammaln(np.sum(alpha)) - np.sum(special.gammaln(alpha))"
        )
    },
    "multinomial": {"logpmf": "special.gammaln(n + 1) + np.sum(special.xlogy(x, p) - special.gammaln(x + 1))"},
}
DISTRIBUTIONS = frozenset(STANDARD) | frozenset(OTHERS)
_LOG_OF = {"pdf": "logpdf", "pmf": "logpmf"}


def formula(distribution: str, method: str) -> str | None:
    """Return the code of one method of a distribution, None where there is none in functions that can be traced.

    >>> formula("expon", "pdf")
    'np.exp(-z) / scale'
    """
    if distribution in OTHERS:
        return _of(OTHERS[distribution], method)
    text = _of(STANDARD.get(distribution, {}), method)
    if text is None:
        return None
    if method == "ppf":
        return f"loc + scale * {_in_brackets(text)}"
    if method == "logpdf":
        text = f"{text} - np.log(scale)"
    elif method == "pdf":
        text = f"{text} / scale"
    return text


def _of(formulas: dict[str, str], method: str) -> str | None:
    """Return the formula of a method, or that of its logarithm within exp, or that of what it is the logarithm of."""
    text, of_log, of_plain = formulas.get(method), formulas.get(_LOG_OF.get(method, "")), formulas.get(method[3:])
    if text is not None:
        return text
    if of_log is not None:
        return f"np.exp({of_log})"
    return f"np.log({of_plain})" if method in ("logcdf", "logsf") and of_plain is not None else None


def _in_brackets(text: str) -> str:
    return text if text.isidentifier() or (text.startswith(("np.", "special.")) and " " not in text) else f"({text})"


def advice(distribution: str, method: str) -> str:
    """Return the sentence that says what to write for a method of a distribution."""
    text = formula(distribution, method)
    name = f"scipy.stats.{distribution}.{method}"
    if text is None and method in ("__init__", "__call__"):
        method = "logpmf" if "logpmf" in OTHERS.get(distribution, {}) else "logpdf"
        text = formula(distribution, method)
        name = f"its {method}"
    if method == "fit":
        return "Take np.mean(x) and np.std(x) for a normal distribution; maximise the sum of the logpdf for others."
    if method == "rvs":
        return "Draw standard numbers and move them: loc + scale * rng.standard_normal(size)."
    if text is None:
        return (
            f"There is no formula for {name} in functions that can be traced: bring it as a metagrad.ad.primitive, "
            "whose rule for a cdf is its density."
        )
    where = ", with z = (x - loc) / scale" if distribution in STANDARD and method != "ppf" else ""
    scipy = ", special being scipy.special" if "special." in text else ""
    return f"For {name}, write {text}{where}{scipy}."
