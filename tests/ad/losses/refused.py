"""Losses that cannot be traced; the message names what was called, and says what to write."""

import math

import numpy as np
from scipy import signal, stats
from scipy.spatial.distance import cdist

from tests.ad.losses.registry import loss

rng = np.random.default_rng(12)
x = rng.normal(size=6)
w3 = rng.normal(size=3)


@loss(w3, r"np\.array.*np\.stack")
def array_of_traced_values(w):
    return np.sum(np.array([w[0] ** 2, w[1], w[2] * w[0]]) ** 2)


@loss(w3, r"out\[i\] = .*np\.(where|concatenate|stack)")
def written_into_an_array(w):
    out = np.zeros(6)
    for i in range(3):
        out[i] = w[i] ** 2
    return out.sum()


@loss(w3, r"(?s)scipy\.stats.*log")
def density_of_scipy_stats(w):
    return -stats.norm.logpdf(x, loc=w[0], scale=np.exp(w[1])).sum()


@loss(w3, r"(?s)scipy\.stats.*log")
def distribution_of_scipy_stats(w):
    return -np.log(stats.norm.cdf(x - w[0])).sum()


@loss(w3, r"math\.exp.*np\.exp")
def mathematics_of_python(w):
    return math.exp(w[0]) + w[1] ** 2


@loss(w3, r"(?s)(cdist|scipy\.spatial).*")
def distances_of_scipy(w):
    return np.sum(cdist(w[:, None], x[:, None]) ** 2)


@loss(w3, r"(?s)(lfilter|scipy\.signal).*")
def filter_of_scipy(w):
    return np.sum(signal.lfilter(w, [1.0, 0.2], x) ** 2)


@loss(w3, r"sort\(\).*np\.sort")
def sorted_in_place(w):
    r = np.abs(x[:3] - w)
    r.sort()
    return r[:2].sum()


@loss(w3, r"(?s)np\.where")
def written_by_a_mask(w):
    r = w * 2
    r[r < 0] = 0.0
    return np.sum(r)


@loss(w3, r"ndarray\.dot.*np\.dot\(")
def method_of_a_plain_array(w):
    A = np.vander(x, 3)
    return np.sum((A.dot(w) - x) ** 2)


@loss(w3, r"vectorize")
def vectorised_around_a_traced_value(w):
    hinge = np.vectorize(lambda a, b: max(0.0, 1.0 - a * w[0] - b * w[1]))
    return np.sum(hinge(x[:3], x[3:]))
