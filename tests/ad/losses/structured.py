"""Sequences, paths and transport."""

import numpy as np
from scipy.special import log_softmax, logsumexp

from tests.ad.losses.registry import loss

rng = np.random.default_rng(9)
emissions = rng.normal(size=(6, 3))
symbols = rng.integers(4, size=6)
series = rng.normal(size=6)
target = rng.normal(size=5)
cloud = rng.normal(size=20)


@loss({"start": rng.normal(size=3), "move": rng.normal(size=(3, 3)), "emit": rng.normal(size=(3, 4))})
def hidden_markov_forward(p):
    start, move, emit = log_softmax(p["start"]), log_softmax(p["move"], axis=1), log_softmax(p["emit"], axis=1)
    alpha = start + emit[:, symbols[0]]
    for s in symbols[1:]:
        alpha = logsumexp(alpha[:, None] + move, axis=0) + emit[:, s]
    return -logsumexp(alpha)


@loss({"start": rng.normal(size=3), "move": rng.normal(size=(3, 3))})
def hidden_markov_with_scaling(p):
    def normalised(a):
        e = np.exp(a)
        return e / e.sum(axis=-1, keepdims=True)

    alpha, total = normalised(p["start"]) * np.exp(emissions[0]), 0.0
    for e in emissions[1:]:
        scale = alpha.sum()
        total = total + np.log(scale)
        alpha = (alpha / scale) @ normalised(p["move"]) * np.exp(e)
    return -(total + np.log(np.sum(alpha)))


@loss((rng.normal(size=(3, 3)), rng.normal(size=(6, 3))))
def conditional_random_field(params):
    move, extra = params
    scores, tags = emissions + extra, [0, 2, 1, 1, 0, 2]
    gold = sum(scores[i, tag] for i, tag in enumerate(tags)) + move[tags[:-1], tags[1:]].sum()
    alpha = scores[0]
    for row in scores[1:]:
        alpha = logsumexp(alpha[:, np.newaxis] + move + row, axis=0)
    return logsumexp(alpha) - gold


@loss(rng.normal(size=(3, 3)))
def best_path(move):
    score = emissions[0]
    for row in emissions[1:]:
        score = np.max(score[:, None] + move, axis=0) + row
    return score.max() - emissions.sum()


@loss(rng.normal(size=(6, 3)))
def connectionist_temporal_classification(z):
    logp = log_softmax(z, axis=1)
    labels = [0, 1, 0, 2, 0]  # blanks between the labels 1 and 2
    alpha = [logp[0, 0], logp[0, 1]] + [-np.inf] * 3
    for row in logp[1:]:
        new = []
        for s, label in enumerate(labels):
            total = alpha[s]
            if s > 0:
                total = np.logaddexp(total, alpha[s - 1])
            if s > 1 and label not in (0, labels[s - 2]):
                total = np.logaddexp(total, alpha[s - 2])
            new.append(total + row[label])
        alpha = new
    return -np.logaddexp(alpha[-1], alpha[-2])


@loss(rng.normal(size=5))
def soft_dynamic_time_warping(w, gamma=0.5):
    D = (w[:, None] - series[None, :]) ** 2
    rows, columns = D.shape
    R = [[np.inf] * (columns + 1) for _ in range(rows + 1)]
    R[0][0] = 0.0
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            before = np.stack([R[i - 1][j - 1], R[i - 1][j], R[i][j - 1]])
            R[i][j] = D[i - 1, j - 1] - gamma * logsumexp(-before / gamma)
    return R[-1][-1]


@loss((rng.normal(size=(4, 2)), np.zeros(4)))
def sinkhorn(params):
    z, logits = params
    cost = np.sum((z[:, None] - emissions[None, :, :2]) ** 2, axis=-1)
    a, b = log_softmax(logits), np.full(6, -np.log(6))
    f, g = np.zeros(4), np.zeros(6)
    for _ in range(10):
        f = a - logsumexp(g - cost, axis=1)
        g = b - logsumexp(f[:, None] - cost, axis=0)
    return np.sum(np.exp(f[:, None] + g - cost) * cost)


@loss(np.array([-0.5, -0.3, 0.8]))
def kalman_filter(w):
    F = np.array([[1.0, 0.1], [0.0, 1.0]])
    H = np.array([[1.0, 0.0]])
    Q, R = np.exp(w[0]) * np.eye(2), np.exp(w[1]) * np.eye(1)
    m, P, total = w[2] * np.ones(2), np.eye(2), 0.0
    for value in series:
        m, P = F @ m, F @ P @ F.T + Q
        S = H @ P @ H.T + R
        K = np.linalg.solve(S, H @ P).T
        v = value - H @ m
        total = total + 0.5 * (v @ np.linalg.solve(S, v) + np.linalg.slogdet(S)[1])
        m, P = m + K @ v, (np.eye(2) - K @ H) @ P
    return total


@loss(np.array([0.3, -1.0]))
def particle_weights(w):
    particles, logw = cloud, np.zeros(20)
    for value in series:
        particles = np.tanh(w[0]) * particles + 0.1
        logw = logw - 0.5 * np.exp(w[1]) * (value - particles) ** 2
    return -logsumexp(logw)


@loss(rng.normal(size=5))
def soft_ranks(w):
    ranks = 1 + np.sum(1 / (1 + np.exp(-(w[:, None] - w[None]) / 0.3)), axis=1) - 0.5
    return np.sum((ranks - np.argsort(np.argsort(target)) - 1) ** 2)


@loss(rng.normal(size=(4, 4)))
def matching_by_softmax(scores):
    P = np.exp(scores)
    for _ in range(5):
        P = P / P.sum(axis=1, keepdims=True)
        P = P / P.sum(axis=0, keepdims=True)
    return -np.sum(np.log(np.diagonal(P)))


@loss(rng.normal(size=8))
def tree_of_decisions(w):
    left = 1 / (1 + np.exp(-(emissions @ w[:3])))
    leaves = np.stack([left * w[4], left * w[5], (1 - left) * w[6]], axis=-1)
    return np.mean((leaves.sum(axis=-1) + w[7] - series) ** 2) + 0 * w[3]


@loss(rng.normal(size=(3, 4)))
def segments_of_an_array(z):
    sums = [part.sum() for part in np.array_split(np.exp(z).ravel(), 5)]
    return np.logaddexp.reduce(np.stack(sums)) + np.add.reduce(z, axis=0).max()
