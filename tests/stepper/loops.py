"""Rules and parameters of every kind, and a loop of one's own over them."""

from typing import NamedTuple

import numpy as np

import metagrad as mg
from metagrad import ad

STEPS = 6
LSTM, MLP31 = mg.CoordinatewiseLSTM(hidden=(4, 3)), mg.MLP31(hidden=5, scale=0.05, exponent_scale=0.1)
CHAIN = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.Momentum())
NOISY = mg.Chain(mg.GradientNoise(), mg.ClipByValue(), rule=mg.Adam())
COSINE = mg.Following(mg.Momentum(), eta=mg.WarmUp(mg.Cosine()))
POLYNOMIAL, EXPONENTIAL = (mg.Following(mg.Adam(), eta=x) for x in (mg.Polynomial(), mg.Exponential()))
GROUPED = mg.Grouped({"a": mg.Momentum(), "b": mg.Adam()}, lambda path: "a" if path.endswith(("'W']", ".W")) else "b")
FREE = mg.Unconstrained(mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01))
RULES = {
    "GradientDescent": (mg.GradientDescent(), 0.2),
    "Momentum": (mg.Momentum(), mg.Momentum.Phi(0.1, 0.6)),
    "Nesterov": (mg.Nesterov(), mg.Nesterov.Phi(0.1, 0.6)),
    "RMSprop": (mg.RMSprop(), mg.RMSprop.Phi(0.05, 0.8, 0.01)),
    "RMSprop of TensorFlow": (mg.RMSprop("tensorflow"), mg.RMSprop.Phi(0.05, 0.8, 0.01)),
    "Adagrad": (mg.Adagrad(), mg.Adagrad.Phi(0.1, 0.01)),
    "Adam": (mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01)),
    "SGDW": (mg.SGDW(), mg.SGDW.Phi(0.1, 0.6, 0.2)),
    "AdamW": (mg.AdamW(), mg.AdamW.Phi(0.05, 0.8, 0.95, 0.01, 0.2)),
    "NAdam": (mg.NAdam(), mg.NAdam.Phi(0.05, 0.8, 0.95, 0.01)),
    "Adan": (mg.Adan(), mg.Adan.Phi(0.1, 0.5, 0.7, 0.9, 0.01, 0.2)),
    "Lion": (mg.Lion(), mg.Lion.Phi(0.02, 0.7, 0.8, 0.3)),
    "CoordinatewiseLSTM": (LSTM, LSTM.init_meta(np.random.default_rng(0))),
    "MLP31": (MLP31, MLP31.init_meta(np.random.default_rng(0))),
    "Chain of ClipByNorm and WeightDecay": (CHAIN, CHAIN.Phi(0.8, 0.02, 0.2, 0.6)),
    "Chain of GradientNoise and ClipByValue": (NOISY, NOISY.Phi(0.1, 0.3, 0.05, 0.8, 0.95, 0.01)),
    "Following WarmUp and Cosine": (COSINE, COSINE.Phi(2.5, 0.2, 0.05, 0.6)),
    "Following Polynomial": (POLYNOMIAL, POLYNOMIAL.Phi(0.1, 0.01, 1.5, 0.8, 0.95, 0.01)),
    "Following Exponential": (EXPONENTIAL, EXPONENTIAL.Phi(0.1, 0.9, 0.8, 0.95, 0.01)),
    "Scheduled": (mg.Scheduled(mg.GradientDescent()), mg.GradientDescent.Phi(np.linspace(0.1, 0.3, STEPS))),
    "Masked": (mg.Masked(mg.Momentum(), True), mg.Momentum.Phi(0.1, 0.6)),
    "Until the gradient is small": (mg.Until(mg.Adam(), 1.5), mg.Adam.Phi(0.3, 0.8, 0.95, 0.01)),
    "Until the loss is small": (mg.Until(mg.Adam(), 0.9, of="loss"), mg.Adam.Phi(0.3, 0.8, 0.95, 0.01)),
    "Unconstrained": (FREE, FREE.init_meta(np.random.default_rng(0))),
}


class Layer(NamedTuple):
    W: np.ndarray
    b: np.ndarray


draw = np.random.default_rng(1)
PARAMS = {
    "one array": draw.standard_normal(4),
    "a matrix": draw.standard_normal((3, 2)),
    "a row": draw.standard_normal((1, 3)),
    "a dict": {"W": draw.standard_normal((3, 2)), "b": draw.standard_normal(2), "s": np.asarray(0.7)},
    "NamedTuples": [Layer(draw.standard_normal((2, 3)), draw.standard_normal(3)), Layer(np.ones((3, 1)), np.ones(1))],
    "a scalar in a tuple": (draw.standard_normal((2, 2, 2)), np.asarray(-1.3)),
}
BOTH_GROUPS = ("a dict", "NamedTuples")


def loss_of(w):  # (B, ...) -> (B,)
    total = 0.0
    for k, leaf in enumerate(ad.leaves(w)):
        flat = leaf.reshape((leaf.shape[0], -1))
        weights = np.linspace(0.5, 2.0, flat.shape[1]).astype(flat.dtype)
        total = total + np.sum(weights * (flat - (k - 0.5)) ** 2 + 0.1 * np.cos(3.0 * flat), axis=-1)
    return total


def with_task(params):
    return ad.tree_map(lambda x: np.asarray(x)[None], params)


def loss(params):
    return loss_of(with_task(params))[0]


def gradient(params):
    return ad.tree_map(lambda x: np.array(x[0]), ad.grad(loss_of)(with_task(params)))


def in_dtype(tree, dtype):
    return ad.tree_map(lambda x: x.astype(dtype) if hasattr(x, "dtype") else x, tree)


def same_bits(a, b):
    return ad.paths(a) == ad.paths(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(ad.leaves(a), ad.leaves(b), strict=True)
    )


def stepped(stepper, params, count=STEPS):
    for _ in range(count):
        params = stepper.update(params, gradient(params), loss=loss(params))
    return params


def pairs():
    for kind in PARAMS:
        for name in RULES:
            yield kind, name
        if kind in BOTH_GROUPS:
            yield kind, "Grouped"


def rule_of(name):
    if name == "Grouped":
        return GROUPED, {"a": mg.Momentum.Phi(0.1, 0.6), "b": mg.Adam.Phi(0.05)}
    return RULES[name]
