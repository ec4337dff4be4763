"""Real data for least squares, as scikit-learn carries them: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from metagrad.xp import rng


@dataclass(frozen=True)
class About:
    """What a problem is: the data set, the number of inputs, and its name in sentences."""

    data: str
    inputs: int
    title: str


PROBLEMS = {
    "diabetes": About("diabetes", 10, "diabetes"),  # its progress a year on, 442 patients
    "products": About("diabetes", 64, "diabetes, products"),  # the same from squares and products too
    "wine": About("wine", 12, "wine"),  # alcohol from the other measurements, 178 wines
    "cancer": About("breast_cancer", 30, "breast cancer"),  # malignant or benign, 569 tumours
    "digits": About("digits", 64, "digits"),  # odd or even, 1797 images
}


@dataclass(frozen=True)
class Problem:
    """Inputs (samples, d) as they were measured, the target (samples,), and how the inputs are brought to one scale.

    `one_unit`: all columns are in one unit, as pixels are, and keep their ratios. `products`: squares and products of
    two are to be added.
    """

    name: str
    inputs_of: np.ndarray
    target: np.ndarray
    one_unit: bool = False
    products: bool = False


@cache
def problem(name: str) -> Problem:
    """Return a problem; ImportError without scikit-learn."""
    X, y = _loaded(PROBLEMS[name].data)
    if name == "wine":
        return Problem(name, X[:, 1:], X[:, 0])
    if name == "digits":
        return Problem(name, X, (y % 2).astype(float), one_unit=True)
    return Problem(name, X, y.astype(float), products=name == "products")


def _loaded(data: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "real_data takes its data from scikit-learn, which is not installed; "
            "install the extra: pip install -e '.[data]'."
        ) from error
    options: dict[str, Any] = {"scaled": False} if data == "diabetes" else {}
    loaded: tuple[np.ndarray, np.ndarray] = getattr(datasets, f"load_{data}")(return_X_y=True, **options)
    return loaded


def fresh_half(data: Problem) -> np.ndarray:
    """Return which samples are kept for tests: a random half of the data set, whatever the seed of a run."""
    count = len(data.target)
    mask = np.zeros(count, dtype=bool)
    mask[rng(0, "real_data", "fresh half", PROBLEMS[data.name].data).permutation(count)[: count // 2]] = True
    return mask


def scaled(data: Problem, X: np.ndarray, n: int) -> np.ndarray:
    """Return the inputs, with products where there are to be some, on the scale of the first n rows."""
    if data.one_unit:
        centred = X - X[:n].mean(axis=0)
        return centred / np.sqrt(np.mean(centred[:n] ** 2))
    X = standardised(X, n)
    return standardised(with_products(X), n) if data.products else X


def standardised(X: np.ndarray, n: int) -> np.ndarray:
    """Return X with the means and spreads of its first n rows removed; a column that is constant there becomes 0."""
    centred = X - X[:n].mean(axis=0)
    spread = centred[:n].std(axis=0)
    constant = spread <= 1e-12 * np.abs(X[:n]).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def with_products(X: np.ndarray) -> np.ndarray:
    """Return the columns of X and all products of two of them but the square of sex, which has only two values."""
    sex = 1
    first, second = np.triu_indices(X.shape[1])
    kept = (first != sex) | (second != sex)
    return np.hstack([X, X[:, first[kept]] * X[:, second[kept]]])
