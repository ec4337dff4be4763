"""Signals and images."""

import numpy as np
from numpy.fft import irfft, rfft
from scipy import signal

from tests.ad.losses.registry import loss

rng = np.random.default_rng(8)
t = np.linspace(0, 1, 16, endpoint=False)
x = np.sin(2 * np.pi * 3 * t) + 0.3 * rng.normal(size=16)
image = rng.normal(size=(5, 6))
w16 = rng.normal(size=16)


@loss(w16)
def spectral_magnitude(w):
    return np.mean((np.abs(rfft(w)) - np.abs(rfft(x))) ** 2)


@loss(w16)
def log_power_spectrum(w):
    power = np.abs(np.fft.rfft(w * np.hanning(16))) ** 2
    return np.sum((np.log(power + 0.1) - np.log(np.abs(np.fft.rfft(x)) ** 2 + 0.1)) ** 2)


@loss(rng.normal(size=9))
def filter_in_the_frequency_domain(w):
    return np.sum((irfft(rfft(x) * np.tanh(w), 16) - np.roll(x, 2)) ** 2)


@loss(w16)
def real_and_imaginary_parts(w):
    F = np.fft.rfft(w)
    return np.sum(F.real**2 * np.arange(9)) + np.sum(np.abs(F.imag - 1.0) ** 2)


@loss(image + 0.1)
def total_variation(z):
    dx, dy = np.diff(z, axis=0), np.diff(z, axis=1)
    return 0.5 * np.sum((z - image) ** 2) + 0.1 * np.sqrt(dx[:, :-1] ** 2 + dy[:-1] ** 2 + 1e-2).sum()


@loss(w16)
def trend_filtering(w):
    return 0.5 * np.sum((w - x) ** 2) + 0.3 * np.abs(np.diff(w, n=2)).sum()


@loss(image)
def smoothness_by_gradient(z):
    gy, gx = np.gradient(z)
    return np.sum(gx**2 + gy**2) + np.sum(np.gradient(z[0], 0.1) ** 2)


@loss(w16)
def cross_correlation(w):
    c = np.correlate(x, w, mode="full")
    return -np.sum(c**3) / 1e3


@loss(w16)
def lagged_products(w):
    c = w - w.mean()
    return sum((np.sum(c[k:] * c[: len(c) - k]) / np.sum(c * c)) ** 2 for k in range(1, 4))


@loss(rng.normal(size=3))
def autoregression(w):
    past = np.column_stack([x[2:-1], x[1:-2], x[:-3]])
    return np.mean((x[3:] - past @ w) ** 2)


@loss(np.array([0.3, -0.2]))
def exponential_smoothing(w):
    alpha, level, total = 1 / (1 + np.exp(-w[0])), x[0] + w[1], 0.0
    for value in x[1:]:
        total += (value - level) ** 2
        level = alpha * value + (1 - alpha) * level
    return total / len(x)


@loss(np.array([0.12, 0.4]))
def time_warp_by_interp(w):
    warped = t + w[0] * np.sin(np.pi * t) ** 2 * np.tanh(w[1]) + 0.003
    return np.sum((np.interp(warped, t, x) - np.roll(x, -1)) ** 2)


@loss(w16)
def moving_average_by_cumsum(w):
    c = np.cumsum(np.insert(w, 0, 0.0))
    return np.sum(((c[4:] - c[:-4]) / 4 - 0.5) ** 2)


@loss(w16)
def area_by_trapezoids(w):
    return (np.trapezoid(np.exp(-(w**2)), t) - 0.7) ** 2


@loss(rng.normal(size=(3, 3)))
def image_filter(kernel):
    return np.sum(signal.convolve2d(image, kernel, mode="valid") ** 2)


@loss(w16)
def tapered_and_tiled(w):
    tiled = np.tile(w[:4], 4) + np.repeat(w[4:8], 4) + np.flip(w)
    return np.sum(np.tanh(tiled) * x)


@loss(w16)
def total_harmonic_content(w):
    basis = np.cos(2 * np.pi * np.outer(np.arange(1, 4), t))
    return np.hypot(basis @ w, np.sin(2 * np.pi * np.outer(np.arange(1, 4), t)) @ w).sum()


@loss(w16)
def signal_to_noise(w):
    scaled = np.dot(w, x) / np.dot(x, x) * x
    return -10 * np.log10(np.sum(scaled**2) / np.sum((w - scaled) ** 2))


@loss(rng.normal(size=(2, 8)))
def periodogram_for_each_task(w):
    return np.sum(np.abs(np.fft.rfft(w, axis=-1, norm="ortho")) ** 2 * np.arange(5), axis=-1)
