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


# name: the rule, its meta-parameters, the same by hand, its state before the first step
HAND_DESIGNED = {
    "momentum": (mg.Momentum(), mg.Momentum.Phi(0.1, 0.6), momentum, 0),
    "nesterov": (mg.Nesterov(), mg.Nesterov.Phi(0.1, 0.6), torch_nesterov, 0),
    "rmsprop": (mg.RMSprop(), mg.RMSprop.Phi(0.05, 0.8, 0.01), torch_rmsprop, 0),
    "tensorflow's rmsprop": (mg.RMSprop("tensorflow"), mg.RMSprop.Phi(0.05, 0.8, 0.01), tensorflow_rmsprop, 1),
    "adagrad": (mg.Adagrad(), mg.Adagrad.Phi(0.1, 0.01), adagrad, 0),
    "adam": (mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01), torch_adam, (0, 0)),
}


def in_dtype(phi, dtype):
    return type(phi)(*[np.asarray(x, dtype=dtype) for x in phi])
