"""The groups of figures, in the order in which report, gallery and tables tell the story: each figure is in one.

To add a figure, put its name in the group it belongs to; a test finds one that is in none, or in two. This module
imports nothing, so that whoever shows figures can use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A group of figures: a word for links, a title, what is asked in it, and the names of its figures in order."""

    key: str
    title: str
    about: str
    figures: tuple[str, ...]


GROUPS = (
    Group(
        "breaks",
        "The explosion",
        "The derivative of the last loss in the step size is exponentially small or large in the horizon, and plain "
        "floating point loses it.",
        ("method_map", "explosion", "horizons", "intermediates"),
    ),
    Group(
        "cure",
        "The cure",
        "The logarithm of the loss has a bounded meta-gradient; exponents beside the digits compute it. Meta-training "
        "then finds the best step size, and where the logarithm fails something else helps.",
        ("log_bounded", "meta_training", "learned_eta", "outer_step", "loss_floor"),
    ),
    Group(
        "generalizes",
        "Generalization",
        "Which loss to tune on: that of the training samples, or that of held-out ones.",
        (
            "train_by_validation",
            "phase_diagram",
            "meta_landscape",
            "finite_dimension",
            "tuners",
            "real_data",
            "sgd_tuning",
            "sgd_phase",
        ),
    ),
    Group(
        "learned",
        "Learned optimizers",
        "Networks as optimizers: what their meta-gradients do, and what trained ones can do.",
        ("learned_explosion", "lstm_quadratics", "lstm_digits", "learned_generalization", "no_free_lunch"),
    ),
    Group(
        "tuned",
        "Hand-designed optimizers, tuned",
        "Hyper-parameters and schedules of known optimizers, tuned by meta-gradient: what is gained, and what fails.",
        ("adam_tuning", "short_horizon", "implicit_gradient", "hyperparameters"),
    ),
    Group(
        "schedules",
        "The best schedules and momenta",
        "What the best step sizes, decays and momenta are in closed form, and that a gradient finds them.",
        ("best_schedules", "schedule_and_decay", "chebyshev", "worst_case", "momentum_landscape"),
    ),
    Group(
        "starts",
        "Learned starts",
        "A start from which a few steps fit a new problem: where MAML, its first order and Reptile end, what they gain "
        "on new problems, and what a train-validation split does to what is learned.",
        ("learned_starts", "start_or_step", "sinusoids", "few_shot"),
    ),
)

FURTHER = Group("further", "Further figures", "Figures that are in no group yet.", ())


def grouped(names: Iterable[str]) -> list[tuple[Group, list[str]]]:
    """Return the groups that have some of these figures, each with them in its order; those of no group come last.

    >>> [(group.key, names) for group, names in grouped(["tuners", "new", "explosion", "method_map"])]
    [('breaks', ['method_map', 'explosion']), ('generalizes', ['tuners']), ('further', ['new'])]
    """
    asked = list(dict.fromkeys(names))
    found = [(group, [name for name in group.figures if name in asked]) for group in GROUPS]
    known = {name for group in GROUPS for name in group.figures}
    found.append((FURTHER, [name for name in asked if name not in known]))
    return [(group, names) for group, names in found if names]


def ordered(names: Iterable[str]) -> list[str]:
    """Return the names in the order of the groups.

    >>> ordered(["tuners", "explosion", "method_map"])
    ['method_map', 'explosion', 'tuners']
    """
    return [name for _, listed in grouped(names) for name in listed]
