"""Classification, ranking and contrast."""

import numpy as np
from scipy.special import (
    entr,
    expit,
    log_expit,
    log_ndtr,
    log_softmax,
    logit,
    logsumexp,
    ndtr,
    rel_entr,
    softmax,
    xlogy,
)

from tests.ad.losses.registry import loss

rng = np.random.default_rng(1)
X = rng.normal(size=(10, 4))
y = (X[:, 0] + 0.5 * rng.normal(size=10) > 0).astype(float)
labels = rng.integers(3, size=10)
onehot = np.eye(3)[labels]
w4 = rng.normal(size=4)
W = 0.5 * rng.normal(size=(4, 3))


@loss(w4)
def logistic_by_logaddexp(w):
    return np.mean(np.logaddexp(0, -(2 * y - 1) * (X @ w)))


@loss(w4)
def logistic_by_expit(w):
    p = expit(X @ w)
    return -np.sum(xlogy(y, p) + xlogy(1 - y, 1 - p))


@loss(w4)
def logistic_by_log_expit(w):
    z = X @ w
    return -np.mean(y * log_expit(z) + (1 - y) * log_expit(-z))


@loss(w4)
def logistic_with_clipped_probabilities(w):
    p = np.clip(1 / (1 + np.exp(-X @ w)), 1e-7, 1 - 1e-7)
    return -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))


@loss(w4)
def probit(w):
    z = X @ w
    return -np.sum(np.where(y == 1, log_ndtr(z), log_ndtr(-z)))


@loss(W)
def softmax_by_logsumexp(W):
    scores = X @ W
    return np.mean(logsumexp(scores, axis=1) - scores[np.arange(len(X)), labels])


@loss({"W": W, "b": np.zeros(3)})
def softmax_with_take_along_axis(params):
    logp = log_softmax(X @ params["W"] + params["b"], axis=-1)
    return -np.take_along_axis(logp, labels[:, None], axis=-1).mean()


@loss(W)
def label_smoothing(W, epsilon=0.1):
    target = (1 - epsilon) * onehot + epsilon / 3
    scores = X @ W
    scores = scores - scores.max(axis=1, keepdims=True)
    return -(target * (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))).sum(axis=1).mean()


@loss(W)
def focal(W, gamma=2.0):
    p = np.sum(softmax(X @ W, axis=1) * onehot, axis=1)
    return np.mean(-((1 - p) ** gamma) * np.log(p))


@loss(w4)
def squared_hinge(w):
    return np.mean(np.maximum(0, 1 - (2 * y - 1) * (X @ w)) ** 2)


@loss(W)
def crammer_singer(W):
    scores = X @ W
    correct = scores[range(10), labels]
    margins = np.fmax(0.0, scores - correct[:, np.newaxis] + 1.0)
    margins = margins * (1 - onehot)
    return margins.sum() / 10 + 0.01 * np.sum(W * W)


@loss({"w": w4, "steps": np.array([0.2, -0.3])})
def ordinal_regression(params):
    cuts = np.cumsum(np.concatenate([[-0.5], np.exp(params["steps"])]))
    below = expit(cuts - (X @ params["w"])[:, None])
    below = np.hstack([np.zeros((10, 1)), below, np.ones((10, 1))])
    p = np.diff(below, axis=1)
    return -np.log(p[np.arange(10), labels]).sum()


@loss(w4)
def area_under_the_curve(w):
    z = X @ w
    gaps = np.subtract.outer(z[y == 1], z[y == 0])
    return np.mean(expit(-gaps / 0.5))


@loss(w4)
def soft_dice(w):
    p = expit(X @ w)
    return 1 - (2 * np.vdot(p, y) + 1) / (p.sum() + y.sum() + 1)


@loss(W)
def distillation(W, T=2.0):
    teacher = softmax(X @ np.arange(12.0).reshape(4, 3) / 10, axis=1)
    return T**2 * rel_entr(teacher, softmax(X @ W / T, axis=1)).sum(axis=1).mean()


@loss(W)
def entropy_regularised(W):
    p = softmax(X @ W, axis=-1)
    return -np.mean(np.log(np.sum(p * onehot, axis=-1))) - 0.1 * entr(p).sum(axis=-1).mean()


@loss(rng.normal(size=(4, 2)))
def info_nce(W):
    a, b = X @ W, (X + 0.1) @ W
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    similarity = a @ b.T / 0.5
    return -np.mean(np.diag(similarity) - logsumexp(similarity, axis=1))


@loss(rng.normal(size=(4, 2)))
def triplet(W):
    z = X @ W
    near = np.linalg.norm(z[:3] - z[3:6], axis=-1)
    far = np.linalg.norm(z[:3] - z[6:9], axis=-1)
    return np.maximum(near - far + 1.0, 0.0).mean()


@loss(rng.normal(size=(4, 3)))
def additive_angular_margin(W):
    Z = X / np.linalg.norm(X, axis=1)[:, None]
    cosine = np.clip(Z @ (W / np.sqrt(np.sum(W**2, axis=0))), -0.999, 0.999)
    angle = np.arccos(cosine)
    scores = 4.0 * np.where(onehot == 1, np.cos(angle + 0.2), cosine)
    return (logsumexp(scores, axis=1) - np.sum(scores * onehot, axis=1)).mean()


@loss(w4)
def list_net(w):
    relevance = np.array([3.0, 2.0, 0.0, 1.0, 0.0])
    scores = (X @ w).reshape(2, 5)
    return -(softmax(relevance) * log_softmax(scores, axis=1)).sum()


@loss(w4)
def plackett_luce(w):
    s = (X @ w)[np.argsort(-X[:, 1])]
    return -np.sum(s - np.logaddexp.accumulate(s[::-1])[::-1])


@loss(rng.normal(size=(4, 2)))
def neighbourhood_components(A):
    Z = X @ A
    d2 = np.square(Z[:, None] - Z[None]).sum(-1)
    d2 = np.where(np.eye(10, dtype=bool), np.inf, d2)
    p = softmax(-d2, axis=1)
    return -np.sum(p * (labels[:, None] == labels))


@loss(np.array([0.7]))
def temperature_scaling(log_t):
    scores = X @ np.arange(12.0).reshape(4, 3) / 10
    return -log_softmax(scores / np.exp(log_t), axis=1)[np.arange(10), labels].mean()


@loss(w4)
def calibration_by_bins(w):
    p = ndtr(X @ w)
    bins = np.digitize(p, np.linspace(0, 1, 4)[1:-1])
    total = 0.0
    for b in np.unique(bins):
        inside = bins == b
        total = total + inside.mean() * (p[inside].mean() - y[inside].mean()) ** 2
    return total


@loss(rng.uniform(0.2, 0.8, size=6))
def probabilities_as_parameters(p):
    target = np.array([0.1, 0.3, 0.5, 0.6, 0.8, 0.9])
    kl = p * np.log(p / target) + (1 - p) * np.log((1 - p) / (1 - target))
    return np.sum((logit(p) - logit(target)) ** 2) + np.sum(kl)


@loss(W)
def hardest_examples(W):
    losses = logsumexp(X @ W, axis=1) - np.sum(X @ W * onehot, axis=1)
    return np.partition(losses, -3)[-3:].mean()
