"""Runs that are held against the tape."""

from typing import NamedTuple

import numpy as np

import metagrad as mg
from metagrad import ad
from metagrad.xp import rng


class Phi(NamedTuple):
    """The meta-parameters of rules below."""

    eta: object


def data(count=4, n=12, d=3, dtype="float64"):
    x = rng(0, "replay").standard_normal((count, n, d)).astype(dtype)
    return x, (x[..., 0] > 0.3).astype(dtype)


def logistic(count=4, n=12, d=3, dtype="float64", **options):
    x, y = data(count, n, d, dtype)

    def loss(w):
        z = np.einsum("bnd,bd->bn", x, w)
        return np.mean(np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=-1)

    return mg.FunctionTask(loss, w0=np.zeros((count, d), dtype), **options)


def bits(estimate):
    numbers = [estimate.value, *ad.leaves(estimate.grad)]
    parts = [part for x in numbers for part in (x.mantissa, x.exponent)]
    known = estimate.status, estimate.status_step, estimate.digits.value, estimate.digits.gradient, estimate.growth
    return [np.asarray(x).tobytes() for x in (*parts, *known) if x is not None]


def both(task, rule, phi, steps=24, objective=None, *, replayed=True, calls=2, start=None, **options):
    """Return the estimate; assert that replay and tape have the same bits, and whether anything was replayed."""
    ask = (task, rule, objective or mg.WeightedSum(), phi)
    plain = mg.Reverse(fused=False, **options)(*ask, steps=steps, at=start)
    for _ in range(calls):
        found = mg.Reverse(**options)(*ask, steps=steps, at=start)
        assert bits(found) == bits(plain)
        assert (found.notes, found.carrier) == (plain.notes, plain.carrier)
    assert (found.replay is not None and "were replayed" in found.replay) == replayed, found.replay
    return found
