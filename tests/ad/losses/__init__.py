"""Losses in ordinary NumPy and SciPy code, as people write them, by field."""

from tests.ad.losses import (
    attention_and_networks,
    classification,
    control_and_physics,
    finance,
    gaussian_processes,
    likelihoods,
    matrices,
    refused,
    regression,
    robust_and_quantiles,
    signals,
    structured,
    survival,
)
from tests.ad.losses.registry import LOSSES, RIGHT, Loss

__all__ = [
    "LOSSES",
    "RIGHT",
    "Loss",
    "attention_and_networks",
    "classification",
    "control_and_physics",
    "finance",
    "gaussian_processes",
    "likelihoods",
    "matrices",
    "refused",
    "regression",
    "robust_and_quantiles",
    "signals",
    "structured",
    "survival",
]
