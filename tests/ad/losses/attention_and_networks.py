"""Networks."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special
from scipy.special import erf, softmax

from tests.ad.losses.registry import loss

rng = np.random.default_rng(5)
X = rng.normal(size=(5, 4))
y = rng.normal(size=5)
image = rng.normal(size=(2, 6, 6))
series = rng.normal(size=10)


def normal(*shape):
    return 0.5 * rng.normal(size=shape)


@loss([(normal(4, 3), normal(3)), (normal(3, 1), normal(1))])
def perceptron(layers):
    h = X
    for i, (W, b) in enumerate(layers):
        h = h @ W + b
        if i < len(layers) - 1:
            h = np.tanh(h)
    return np.mean((h.squeeze(-1) - y) ** 2)


@loss({"q": normal(4, 3), "k": normal(4, 3), "v": normal(4, 2)})
def causal_attention(p):
    q, k, v = X @ p["q"], X @ p["k"], X @ p["v"]
    scores = q @ k.T / np.sqrt(k.shape[-1])
    scores = np.where(np.tril(np.ones((5, 5), dtype=bool)), scores, -np.inf)
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return np.sum(np.square(weights @ v))


@loss({"qkv": normal(4, 12), "out": normal(4, 4)})
def multi_head_attention(p):
    q, k, v = np.split(X @ p["qkv"], 3, axis=-1)
    q, k, v = (np.transpose(a.reshape(5, 2, 2), (1, 0, 2)) for a in (q, k, v))
    scores = np.einsum("hid,hjd->hij", q, k) / np.sqrt(2)
    mixed = np.einsum("hij,hjd->ihd", softmax(scores, axis=-1), v)
    return np.mean((mixed.reshape(5, 4) @ p["out"] - X) ** 2)


@loss((normal(4, 4), np.ones(4), np.zeros(4)))
def layer_norm(params):
    W, gain, bias = params
    h = X @ W
    h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
    return np.sum((h * gain + bias)[:, 0] * y)


@loss(normal(4, 4))
def root_mean_square_norm(W):
    h = X @ W
    return np.sum((h / np.sqrt(np.mean(h**2, axis=-1, keepdims=True) + 1e-6)) ** 3)


@loss(normal(4, 3))
def batch_norm_and_swish(W):
    h = X @ W
    h = (h - np.mean(h, axis=0)) / np.sqrt(np.var(h, axis=0) + 1e-3)
    return np.mean((np.sum(h * special.expit(h), axis=1) - y) ** 2)


@loss({"W": normal(1, 9), "U": normal(3, 9), "b": normal(9)})
def gated_recurrent_unit(p):
    h = np.zeros(3)
    for x in series[:5]:
        a = np.array([x]) @ p["W"] + p["b"]
        r, z = np.split(special.expit(a[:6] + h @ p["U"][:, :6]), 2)
        n = np.tanh(a[6:] + (r * h) @ p["U"][:, 6:])
        h = (1 - z) * n + z * h
    return np.sum(h**2)


@loss({"W": normal(4, 12), "b": normal(12)})
def long_short_term_memory(p):
    h, c = np.zeros(3), np.zeros(3)
    for x in series[:4]:
        gates = np.append(h, x) @ p["W"] + p["b"]
        i, f, o, g = np.split(gates, 4)
        c = special.expit(f) * c + special.expit(i) * np.tanh(g)
        h = special.expit(o) * np.tanh(c)
    return np.dot(h, h)


@loss({"kernel": normal(3, 2, 3, 3), "out": normal(3)})
def convolution_by_windows(p):
    windows = sliding_window_view(image, (3, 3), axis=(1, 2))
    h = np.tensordot(p["kernel"], windows, axes=([1, 2, 3], [0, 3, 4]))
    return np.mean(np.maximum(h, 0), axis=(1, 2)) @ p["out"]


@loss(normal(2, 6, 6))
def windows_of_a_traced_image(z):
    windows = sliding_window_view(z, (2, 2), axis=(-2, -1))
    return np.einsum("cijkl,kl->", np.tanh(windows), np.array([[1.0, -1.0], [0.5, 2.0]]))


@loss(normal(2, 6, 6))
def max_pooling(z):
    pooled = (image + z).reshape(2, 3, 2, 3, 2).max(axis=(2, 4))
    return np.sum(pooled**2)


@loss(normal(6, 6))
def padded_smoothing(z):
    p = np.pad(z, 1)
    h = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) / 4
    return np.sum((h - image[0]) ** 2)


@loss(normal(3))
def one_dimensional_convolution(w):
    h = np.convolve(series, w, mode="same")
    return np.mean(np.tanh(h) ** 2)


@loss({"W": normal(4, 6), "V": normal(6)})
def gaussian_error_linear_units(p):
    h = X @ p["W"]
    h = 0.5 * h * (1 + erf(h / np.sqrt(2)))
    return np.mean((h @ p["V"] - y) ** 2)


@loss({"table": normal(7, 3), "out": normal(3)})
def embeddings(p):
    tokens = np.array([[1, 4, 4], [0, 6, 2]])
    return np.sum(np.tanh(p["table"][tokens].mean(axis=1) @ p["out"]) + np.take(p["table"], [3, 5], axis=0).sum(1))


@loss(normal(4, 4))
def rotary_positions(W):
    angle = np.outer(np.arange(5), np.array([1.0, 0.1]))
    q = X @ W
    a, b = q[:, :2], q[:, 2:]
    turned = np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], axis=-1)
    return np.sum(softmax(turned @ X.T, axis=1)[:, 0] * y)


@loss({"gate": normal(4, 3), "experts": normal(3, 4, 2)})
def mixture_of_experts(p):
    gate = special.softmax(X @ p["gate"], axis=1)
    out = np.einsum("nd,edk->nek", X, p["experts"])
    return np.mean(np.einsum("ne,nek->nk", gate, out) ** 2)


@loss((normal(4, 3), normal(3, 2)))
def graph_convolution(params):
    A = np.array([[0, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1], [1, 0, 0, 1, 0]]) + np.eye(5)
    d = 1 / np.sqrt(A.sum(1))
    A = A * d[:, None] * d
    h = np.tanh(A @ X @ params[0])
    return np.sum(special.log_softmax(A @ h @ params[1], axis=1)[:, 0])


@loss((normal(4, 2), normal(2, 4)))
def autoencoder(params):
    encode, decode = params
    return np.sum(np.linalg.norm(X - np.matmul(np.matmul(X, encode), decode), axis=1) ** 2)


@loss(normal(4, 3))
def set_network(W):
    return np.sum(np.log1p(np.exp(X @ W)).sum(0) * np.array([1.0, 2.0, -1.0])) + np.ptp(X @ W[:, 1])


@loss({"W": normal(3, 4, 6), "v": normal(3, 6)})
def network_for_each_task(p):
    h = np.tanh(np.matmul(X, p["W"]))
    return np.mean((np.matmul(h, p["v"][..., None])[..., 0] - y) ** 2, axis=-1)


@loss(normal(4, 4))
def vectorised_by_signature(W):
    energy = np.vectorize(lambda a, b: np.sum(np.tanh(a)) * np.max(b), signature="(n),(n)->()")
    return np.sum(energy(X[:2] @ W, X[2:4]))
