"""What to write in place of a call that makes plain numbers of traced values: a table by the name of the function.

A name stands for all that lies below it: "scipy.optimize" for scipy.optimize.minimize. The longest one counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CONSTANT = "Apply it to metagrad.ad.stop_gradient(x) if no derivative is meant."
STACK = "Join traced values with np.stack([x, y]), or arrays with np.concatenate([x, y])."
WRITE = (
    "Build a new array in place of z[i] = x: np.stack([x, y]) of the entries, np.concatenate of the parts, or "
    "np.where(mask, x, z)."
)
NUMBER = (
    "Leave it as it is, as NumPy's functions take it, and take np.exp(x) for math.exp(x); print f'{x:.3f}'; or use "
    "metagrad.ad.stop_gradient(x) where no derivative is meant."
)
_ROOT = (
    "Find the root r with metagrad.ad.stop_gradient of what is traced, then take two Newton steps on traced values, "
    "r = r - f(r, x) / slope(r, x): one is right for the gradient, two for second derivatives as well."
)
_OPTIMUM = (
    "Find the optimum w with metagrad.ad.stop_gradient of what is traced, then take two Newton steps on traced "
    "values, w = w - np.linalg.solve(hessian(w, x), gradient(w, x)); or write the iterations as a loop."
)
_STEPS = "Write the steps as a loop, y = y + h * f(t, y), or those of Runge-Kutta; each of them can be traced."
_SPLINE = (
    "A spline is linear in its values: B = CubicSpline(t, np.eye(len(t)))(s) is a constant matrix; take B @ y. The "
    "same holds for interp1d with axis=0."
)
_PIECEWISE = "It is piecewise constant in x: its derivative is zero. " + CONSTANT
_DRAW = (
    "Draw standard numbers and move them: loc + scale * rng.standard_normal(shape), low + (high - low) * "
    "rng.random(shape), scale * rng.standard_exponential(shape). Give metagrad.ad.stop_gradient(x) to choice, poisson "
    "and permutation."
)
_LINEAR = "It is linear: apply it once to np.eye(n) with axis=0, which gives a constant matrix M, and take M @ x."
_FIT = "Write what it computes with NumPy's functions, or give it metagrad.ad.stop_gradient(x)."

REMEDIES: dict[str, str] = {
    "numpy": f"{STACK} Give the result to the function in the place of a list.",
    "numpy.array": f"{STACK} np.array(x) of one array is x, or np.copy(x).",
    "numpy.asarray": f"Leave x as it is, as NumPy's functions take it. {STACK}",
    "numpy.asanyarray": f"Leave x as it is, as NumPy's functions take it. {STACK}",
    "numpy.ascontiguousarray": "Leave x as it is, as NumPy's functions take it.",
    "numpy.float64": "Leave x as it is, or take x.astype(np.float64).",
    "numpy.float32": "Take x.astype(np.float32).",
    "numpy.float16": "Take x.astype(np.float16).",
    "numpy.int64": _PIECEWISE,
    "numpy.int32": _PIECEWISE,
    "numpy.bool": "Compare it, x != 0.",
    "numpy.vectorize": (
        "Give what is traced to the function as an argument, np.vectorize(f)(x, y), not as a name from outside "
        "of f; or write it with NumPy's functions on whole arrays."
    ),
    "numpy.arange": "Take x * np.arange(n), or start + step * np.arange(n).",
    "numpy.full": "Take x * np.ones(n), or np.broadcast_to(x, shape).",
    "numpy.ma": (
        "Fill a masked array m, m.filled(0.0), and give its entries the weight (~np.ma.getmaskarray(m)).astype(float)."
    ),
    "numpy.fromiter": STACK,
    "numpy.matrix": "Leave x as it is, and write x @ y for products.",
    "numpy.ndarray": f"Call NumPy's function, np.dot(z, x) for z.dot(x). {WRITE}",
    "numpy.fill_diagonal": "Take np.where(np.eye(n, dtype=bool), x, A).",
    "numpy.polynomial": "Write it as a sum, np.sum(c * x[..., None] ** np.arange(n), axis=-1), or by Horner's loop.",
    "numpy.random": _DRAW,
    "numpy.testing": CONSTANT,
    "random": _DRAW,
    "statistics": "Take np.mean(x), np.median(x) or np.std(x, ddof=1).",
    "json": "Write metagrad.ad.stop_gradient(x).tolist().",
    "pandas": "Take np.asarray(s) of the Series or DataFrame s.",
    "scipy.optimize": _OPTIMUM,
    "scipy.optimize.nnls": (
        "Find which coefficients are positive, s = nnls(A, metagrad.ad.stop_gradient(b))[0] > 0, and solve for those: "
        "np.linalg.solve(A[:, s].T @ A[:, s], A[:, s].T @ b)."
    ),
    "scipy.optimize.linear_sum_assignment": (
        "Assign with plain costs, i, j = linear_sum_assignment(metagrad.ad.stop_gradient(C)), and take C[i, j].sum()."
    ),
    **{
        f"scipy.optimize.{name}": _ROOT
        for name in ("root", "root_scalar", "fsolve", "brentq", "brenth", "ridder", "bisect", "newton", "fixed_point")
    },
    "scipy.integrate": _STEPS,
    "scipy.integrate.quad": (
        "Take fixed nodes, s, weights = np.polynomial.legendre.leggauss(50), and np.sum(weights * f(s)), which is the "
        "integral from -1 to 1."
    ),
    "scipy.integrate.trapezoid": "Take np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)).",
    "scipy.integrate.cumulative_trapezoid": "Take np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x)).",
    "scipy.integrate.simpson": "Take h / 3 * np.sum(y[:-2:2] + 4 * y[1:-1:2] + y[2::2]), for an odd number of points.",
    "scipy.interpolate": _SPLINE,
    "scipy.interpolate.interp1d": f"Take np.interp for straight lines. {_SPLINE}",
    "scipy.fft": f"{_LINEAR} A complex one has two: M.real and M.imag.",
    "scipy.signal": _LINEAR,
    "scipy.ndimage": f"{_LINEAR} That holds for linear filters; write others with shifted slices of x.",
    "scipy.spatial.distance.cdist": "Take np.sqrt(np.sum((X[:, None] - Y[None]) ** 2, axis=-1)) for distances.",
    "scipy.spatial.distance.pdist": (
        "Take i, j = np.triu_indices(len(X), 1) and np.sqrt(np.sum((X[i] - X[j]) ** 2, axis=-1)) for distances."
    ),
    "scipy.special": "Write it with supported functions (docs/operations.md), or as a metagrad.ad.primitive.",
    "scipy.linalg": "Write it with np.linalg.solve, eigh or svd, or with what docs/operations.md lists.",
    "scipy.sparse": (
        "Write S @ x or x @ S for products of matrices, which are supported for a constant S, S.toarray() * x for "
        "those entry by entry, or bring another product as a metagrad.ad.primitive with its VJP."
    ),
    "scipy.sparse.linalg": "Take np.linalg.solve(S.toarray(), b) for spsolve(S, b), and S @ x for a linear operator.",
    "scipy.stats": "Write the statistic or the density with NumPy's functions (docs/operations.md).",
    "scipy.stats.zscore": "Take (x - np.mean(x)) / np.std(x).",
    "scipy.stats.entropy": "Take p = x / np.sum(x) and -np.sum(p * np.log(p)).",
    "scipy.stats.pearsonr": "Take a = x - np.mean(x), b = y - np.mean(y) and np.sum(a * b) / np.sqrt(a @ a * (b @ b)).",
    "scipy.stats.gmean": "Take np.exp(np.mean(np.log(x))).",
    "scipy.stats.spearmanr": _PIECEWISE,
    "scipy.stats.rankdata": _PIECEWISE,
    "scipy.stats.gaussian_kde": "Take np.mean(np.exp(-((s[:, None] - x) ** 2) / (2 * h**2)), axis=1) for its sum.",
    "scipy.stats.wasserstein_distance": "Take np.mean(np.abs(np.sort(x) - np.sort(y))), for as many x as y.",
    "scipy": "Write it with NumPy's functions (docs/operations.md), or as a metagrad.ad.primitive with its VJP.",
    "sklearn": _FIT,
    "sklearn.metrics": _PIECEWISE,
    "sklearn.metrics.mean_squared_error": "Take np.mean((y - p) ** 2).",
    "sklearn.metrics.root_mean_squared_error": "Take np.sqrt(np.mean((y - p) ** 2)).",
    "sklearn.metrics.mean_absolute_error": "Take np.mean(np.abs(y - p)).",
    "sklearn.metrics.mean_squared_log_error": "Take np.mean((np.log1p(y) - np.log1p(p)) ** 2).",
    "sklearn.metrics.r2_score": "Take 1 - np.sum((y - p) ** 2) / np.sum((y - np.mean(y)) ** 2).",
    "sklearn.metrics.log_loss": "Take -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)).",
    "sklearn.metrics.brier_score_loss": "Take np.mean((y - p) ** 2).",
    "sklearn.metrics.hinge_loss": "Take np.mean(np.maximum(0.0, 1 - y * p)), with y of -1 and 1.",
    "sklearn.metrics.pairwise": "Take np.sum((X[:, None] - Y[None]) ** 2, axis=-1) for the squares of distances.",
    "sklearn.metrics.pairwise.rbf_kernel": "Take np.exp(-gamma * np.sum((X[:, None] - Y[None]) ** 2, axis=-1)).",
    "sklearn.metrics.pairwise.linear_kernel": "Take X @ Y.T.",
    "sklearn.metrics.pairwise.polynomial_kernel": "Take (gamma * X @ Y.T + coef0) ** degree.",
    "sklearn.preprocessing": "Take (X - X.mean(axis=0)) / X.std(axis=0) for standardised columns.",
    "matplotlib": "Draw metagrad.ad.stop_gradient(x).",
    "float": NUMBER,
    "complex": "Write real and imaginary part apart.",
    "int": _PIECEWISE,
    "round": f"Print f'{{x:.3f}}', or take np.round(x), a constant. {_PIECEWISE}",
    "bin": _PIECEWISE,
    "hex": _PIECEWISE,
    "range": _PIECEWISE,
    "bytes": CONSTANT,
    "math": "Take NumPy's function of the same name, np.exp(x) for math.exp(x).",
    "math.floor": f"Take np.floor(x). {_PIECEWISE}",
    "math.ceil": f"Take np.ceil(x). {_PIECEWISE}",
    "math.trunc": f"Take np.trunc(x). {_PIECEWISE}",
    "math.fabs": "Take np.abs(x).",
    "math.pow": "Take x**y.",
    "math.fsum": "Take np.sum(x).",
    "math.dist": "Take np.linalg.norm(x - y).",
    "math.lgamma": "Take scipy.special.gammaln(x).",
    "math.gamma": "Take scipy.special.gamma(x).",
    "math.erf": "Take scipy.special.erf(x).",
    "math.erfc": "Take scipy.special.erfc(x).",
    "math.acos": "Take np.arccos(x).",
    "math.asin": "Take np.arcsin(x).",
    "math.atan": "Take np.arctan(x).",
    "math.atan2": "Take np.arctan2(y, x).",
}

_SAVE = "Save metagrad.ad.stop_gradient(x)."
REFUSED: dict[Any, str] = {  # NumPy's functions that hand their call over, and write it to a file or into an array
    **{getattr(np, name): _SAVE for name in ("save", "savez", "savez_compressed", "savetxt")},
    **dict.fromkeys((np.copyto, np.put, np.place, np.putmask, np.put_along_axis), WRITE),
    np.fill_diagonal: REMEDIES["numpy.fill_diagonal"],
}


def remedy_for(name: str, otherwise: str) -> str:
    """Return the remedy of the function `name`, or of what it lies in.

    >>> remedy_for("sklearn.metrics.mean_squared_error", "")
    'Take np.mean((y - p) ** 2).'
    """
    while name:
        found = REMEDIES.get(name)
        if found is not None:
            return found
        name = name.rpartition(".")[0]
    return otherwise
