"""The hand-designed rules once more: each as a few lines on single numbers, in mpmath or floats, for comparison."""

import numpy as np

import metagrad as mg


def momentum(t, theta, m, g, eta, mu):
    m = mu * m - eta * g
    return theta + m, m


def torch_nesterov(t, w, b, g, eta, mu):
    b = mu * b + g
    return w - eta * (g + mu * b), b


def torch_rmsprop(t, w, v, g, eta, rho, eps):
    v = rho * v + (1 - rho) * g**2
    return w - eta * g / (v**0.5 + eps), v


def tensorflow_rmsprop(t, w, v, g, eta, rho, eps):
    v = rho * v + (1 - rho) * g**2
    return w - eta * g / (v + eps) ** 0.5, v


def adagrad(t, w, v, g, eta, eps):
    v = v + g**2
    return w - eta * g / (v**0.5 + eps), v


def torch_adam(t, w, moments, g, eta, beta1, beta2, eps):
    m, v = moments
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return w - eta / (1 - beta1**t) * m / (v**0.5 / (1 - beta2**t) ** 0.5 + eps), (m, v)


def sgdw(t, w, m, g, eta, mu, decay):
    m = mu * m - eta * g
    return (1 - eta * decay) * w + m, m


def torch_adamw(t, w, moments, g, eta, *others):
    *of_adam, decay = others
    return torch_adam(t, w * (1 - eta * decay), moments, g, eta, *of_adam)


def nadam(t, w, moments, g, eta, beta1, beta2, eps):
    m, v = moments
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    ahead = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
    return w - eta * ahead / ((v / (1 - beta2**t)) ** 0.5 + eps), (m, v)


def adan(t, w, memory, g, *phi):
    (eta, beta1, beta2, beta3, eps, decay), (m, v, n, last) = phi, memory
    d = 0 if t == 1 else g - last
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (d - v)
    n = n + (1 - beta3) * ((g + beta2 * d) ** 2 - n)
    size = eta / ((n / (1 - beta3**t)) ** 0.5 + eps)
    return (w - size * (m / (1 - beta1**t) + beta2 * v / (1 - beta2**t))) / (1 + decay * eta), (m, v, n, g)


# name: the rule, its meta-parameters, the same by hand, its state before the first step
HAND_DESIGNED = {
    "momentum": (mg.Momentum(), mg.Momentum.Phi(0.1, 0.6), momentum, 0),
    "nesterov": (mg.Nesterov(), mg.Nesterov.Phi(0.1, 0.6), torch_nesterov, 0),
    "rmsprop": (mg.RMSprop(), mg.RMSprop.Phi(0.05, 0.8, 0.01), torch_rmsprop, 0),
    "tensorflow's rmsprop": (mg.RMSprop("tensorflow"), mg.RMSprop.Phi(0.05, 0.8, 0.01), tensorflow_rmsprop, 1),
    "adagrad": (mg.Adagrad(), mg.Adagrad.Phi(0.1, 0.01), adagrad, 0),
    "adam": (mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01), torch_adam, (0, 0)),
    "sgdw": (mg.SGDW(), mg.SGDW.Phi(0.1, 0.6, 0.2), sgdw, 0),
    "adamw": (mg.AdamW(), mg.AdamW.Phi(0.05, 0.8, 0.95, 0.01, 0.2), torch_adamw, (0, 0)),
    "nadam": (mg.NAdam(), mg.NAdam.Phi(0.05, 0.8, 0.95, 0.01), nadam, (0, 0)),
    "adan": (mg.Adan(), mg.Adan.Phi(0.1, 0.5, 0.7, 0.9, 0.01, 0.2), adan, (0, 0, 0, 0)),
}


def in_dtype(phi, dtype):
    return type(phi)(*[np.asarray(x, dtype=dtype) for x in phi])
