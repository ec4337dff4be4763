"""Each claim in one short line: what it says in plain words, and the numbers that show it.

Whoever adds a figure adds its line here, with the keys of its checks; a figure without one is told by its title and by
how many of its checks hold. `HEADLINES` are the eight that the README's table has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from paper_figs.framework.claims import Claims

HEADLINES = (
    "method_map",
    "explosion",
    "log_bounded",
    "horizons",
    "train_by_validation",
    "sgd_tuning",
    "learned_explosion",
    "lstm_digits",
)


@dataclass(frozen=True)
class Short:
    """A claim in plain words, and a function of its `Claims` that tells what was measured."""

    says: str
    measured: Callable[[Claims], str]


def says(name: str, title: str) -> str:
    """Return the claim of a figure in plain words, or its title where it has none."""
    return LINES[name].says if name in LINES else title


def measured(claims: Claims) -> str:
    """Return the numbers that show a claim, in few words; KeyError where its result lacks a check."""
    if claims.name in LINES:
        return LINES[claims.name].measured(claims)
    decided = [row["holds"] for row in claims.rows if row["holds"] is not None]
    return f"{sum(decided)} of {len(decided)} checks hold"


def share(claims: Claims, key: str, digits: int = 0) -> str:
    """Return a share in per cent, rounded down so that only all of it is told as 100 %.

    >>> checks = {0: [{"key": "right", "measured": 0.9996}], 1: [{"key": "right", "measured": 1.0}]}
    >>> share(Claims("invented", "quick", {}, "a claim", checks), "right")
    '99% (99% to 100%)'
    """
    unit = 10 ** (2 + digits)

    def floored(x: float) -> float:
        down = math.floor(round(x * unit, 6)) / unit if math.isfinite(x) else x
        return down if f"{x:.{digits}%}" == f"{1:.{digits}%}" else x

    return claims.told(key, f".{digits}%", floored)


def _train_by_validation(c: Claims) -> str:
    n = max(n for n in c.config["samples"] if n <= c.config["d"])
    train, held_out, nothing = (c.told(f"{of}_{n}", ".2f") for of in ("rmse_train", "rmse_validation", "nothing"))
    return f"test RMSE {train}, held out {held_out}; w = 0: {nothing}"


def _lstm_digits(c: Claims) -> str:
    train, test = (
        " against ".join(c.told(f"{key}_{which}", ".2f") for which in ("lstm", "least"))
        for key in ("few_train_path", "few_test_end")
    )
    return f"train {train}, test {test}"


def _percent(x: float) -> float:
    return 100 * x


LINES = {
    "method_map": Short(
        "Plain backpropagation is wrong beyond a horizon; with exponents beside the digits it is right.",
        lambda c: (
            f"{share(c, 'scaled_float64')} of the map, plain {share(c, 'plain_float64')}, "
            f"plain float16 {share(c, 'plain_float16')}"
        ),
    ),
    "explosion": Short(
        "The meta-gradient of the last loss vanishes for step sizes below 2/L and explodes above.",
        lambda c: (
            f"10^{c.told('small', '.1f')} at 0.5/L, 10^{c.told('large', '.0f')} at 2.5/L, t = "
            f"{c.config['horizons'][-1]}"
        ),
    ),
    "horizons": Short(
        "The horizon at which plain floats overflow is predicted to within a step.",
        lambda c: (
            f"{', '.join(c.told(f'gap_float{bits}', '.0f') for bits in (16, 32, 64))} steps off (float16, 32, 64)"
        ),
    ),
    "intermediates": Short(
        "State and adjoint run through many orders of magnitude, in opposite directions; their product stays put.",
        lambda c: (
            f"{c.told('expanding_orders', '.0f')} orders; steps' shares equal to {c.told('expanding_spread', '.0e')}"
        ),
    ),
    "log_bounded": Short(
        "The meta-gradient of the log of the loss is bounded, at every step size and horizon.",
        lambda c: (
            f"at most {c.told('largest', '.3g')} at t = {c.config['horizons'][-1]}; plain: "
            f"{c.told('plain', '.0f')} orders"
        ),
    ),
    "meta_training": Short(
        "Overflow, stop-gradient and the plain objective each break meta-training; scaled, on the log, it learns.",
        lambda c: (
            f"{c.told('scaled_error', '.1%')} off; stop-gradient {c.told('bias', '.1%')}, plain "
            f"{c.told('outer_step_lost', '.0f')} orders"
        ),
    ),
    "learned_eta": Short(
        "Meta-training learns the step size that theory predicts for the horizon.",
        lambda c: f"{share(c, 'learned')} of the tasks; gap falls as 1/t^{c.told('order', '.3f')}",
    ),
    "outer_step": Short(
        "On the log one outer step size serves most tasks, on the plain loss hardly any.",
        lambda c: f"{share(c, 'log_share')} of the tasks, against {share(c, 'naive_share')}",
    ),
    "momentum_landscape": Short(
        "With momentum the log's slope grows like t where roots meet; training it beats Polyak's pair at the horizon.",
        lambda c: f"like t^{c.told('growth', '.2f')}; better on {share(c, 'learned_share')}",
    ),
    "loss_floor": Short(
        "Where a loss has a floor the log objective vanishes again; the log of the excess does not.",
        lambda c: (
            f"|G'| {c.told('last_train', '.0e')}; of the excess {c.told('last_excess', '.2f')}, t = "
            f"{c.config['horizons'][-1]}"
        ),
    ),
    "train_by_validation": Short(
        "With as many samples as inputs, a step size tuned on the training loss is worse than no training; on "
        "held-out samples it is better.",
        _train_by_validation,
    ),
    "phase_diagram": Short(
        "Train-by-validation wins up to a number of samples that grows with the noise: n/d near 2 sigma^2.",
        lambda c: f"boundary within {c.told('boundary', '.1f', _percent)}% of it, sigma = 5",
    ),
    "meta_landscape": Short(
        "The best step size on the training loss is far above the best on held-out samples.",
        lambda c: f"{c.told('apart_half', '.0f')} and {c.told('apart_equal', '.0f')} times, n/d = 0.5 and 1",
    ),
    "finite_dimension": Short(
        "In finite dimension risk and validation loss are near the limit of many inputs.",
        lambda c: f"95% of X within {c.told('largest_at_1000', '.2f', _percent)}% at d = 1000, by the law",
    ),
    "tuners": Short(
        "Gradient, grid and exact minimiser choose the same step size.",
        lambda c: f"within {c.told('gradient', '.2f')} and {c.told('grid', '.2f')} grid spacings of the exact",
    ),
    "real_data": Short(
        "On real data with few samples, the step size tuned on held-out samples has the smaller test error.",
        lambda c: f"{_less(c, 'wine')} less (wine), {_less(c, 'digits')} (digits), {_less(c, 'cancer')} (tumours)",
    ),
    "sgd_tuning": Short(
        "With SGD as well, many epochs tuned on the training loss fit the noise, where n = d; tuned on held-out "
        "samples they do not.",
        lambda c: f"risk >= {c.told('train_risk', '.2f')}, held out <= {c.told('held_out_risk', '.2f')}; w = 0: 1",
    ),
    "sgd_phase": Short(
        "With SGD the boundary falls with the epochs, and hardly depends on the batch size.",
        lambda c: f"{c.told('epochs', '.2f')} times as high after {c.config['epochs'][-1]} epochs as after 1",
    ),
    "learned_explosion": Short(
        "The meta-gradient of a learned optimizer can explode, and then the log does not cure it.",
        lambda c: f"{share(c, 'exploding')} of log-sign runs explode; {share(c, 'exploding_log')} on the log",
    ),
    "lstm_quadratics": Short(
        "Trained LSTMs end below every fixed schedule of step sizes and momenta, chosen in hindsight.",
        lambda c: f"at most {c.told('below_schedules', '.2f')} of the best schedule's mean loss",
    ),
    "lstm_digits": Short(
        "A trained LSTM fits 1,000 digits faster (mean training loss) than the best tuned baseline, and ends with the "
        "larger test loss.",
        _lstm_digits,
    ),
    "learned_generalization": Short(
        "A learned optimizer that was meta-trained on the training loss fits noisy labels.",
        lambda c: f"test loss {c.told('few_test', '.2f')} times that of the held-out one",
    ),
    "few_shot": Short(
        "A start learned by MAML tells characters of new alphabets apart, better than a random one.",
        lambda c: f"{share(c, 'maml_1')} from one drawing, {share(c, 'maml_5')} from five; chance 20%",
    ),
    "implicit_gradient": Short(
        "Where the inner optimum is near, the implicit gradient is nearer to the truth than the unrolled one.",
        lambda c: (
            f"{c.told('nearer_diabetes', '.0f')} times (diabetes); memory x{c.told('memory', '.1f')}, "
            f"not x{c.told('memory_unrolled', '.1f')}"
        ),
    ),
    "no_free_lunch": Short(
        "What a policy gains on the functions that it is meta-trained on it loses on all others.",
        lambda c: f"{c.told('mean_gain_2', '+.3f')} on those, {c.told('mean_rest_2', '+.3f')} on the rest",
    ),
    "adam_tuning": Short(
        "Adam tuned by meta-gradient has a smaller geometric mean loss than with a grid's step size; random search "
        "gains as much.",
        lambda c: f"log10 loss {_gain(c, 'all')}; search {_gain(c, 'search')}",
    ),
    "sinusoids": Short(
        "A few steps from a learned start leave less of the error than the same steps from random weights.",
        lambda c: f"{c.told('maml_random', '.2f')} of it (MAML), {c.told('reptile_random', '.2f')} (Reptile)",
    ),
    "best_schedules": Short(
        "Gradient finds the best schedule of step sizes that theory has in closed form, from a straight line.",
        lambda c: f"steps to {c.told('line', '.0e')}, up to t = {c.config['steps'][-1]}",
    ),
    "chebyshev": Short(
        "Learned as a minimax, a schedule ends at Chebyshev's; in the fractal order of its steps nothing is lost.",
        lambda c: (
            f"worst factor to {c.told('learned_float64', '.0e', abs)}; others' range 10^{c.told('ordered', '.0f')}"
        ),
    ),
    "schedule_and_decay": Short(
        "With noise the best schedule needs weight decay: tuned by gradient, the two reach the least risk there is.",
        lambda c: f"17/41 to {c.told('four_steps', '.0e')} at t = 4; steps alone {c.told('alone', '.5f')}",
    ),
    "worst_case": Short(
        "An adversary on one-dimensional tasks leads to the step sizes of least worst case over all convex functions, "
        "from a plain start.",
        lambda c: f"{c.told('value_2', '.3%')}, {c.told('value_3', '.3%')} above the minimax (t = 2, 3)",
    ),
    "short_horizon": Short(
        "Step sizes tuned for the very next loss fall too early, and lose more the longer the run.",
        lambda c: f"{c.told('bias_10')} times the best at T = 10, {c.told('bias_100')} at T = 100",
    ),
    "learned_starts": Short(
        "MAML, its first order and Reptile end at three different starts, each at its closed form.",
        lambda c: f"apart by >= {c.told('apart', '.2g')}; expansions leave alpha^2",
    ),
    "start_or_step": Short(
        "A train-validation split costs a learned start, where tasks are realisable, and pays for a step size under "
        "noise.",
        lambda c: f"start: error >= {c.told('start_half', '.2f')} times; step: risk <= {c.told('step_noise', '.2f')}",
    ),
    "hyperparameters": Short(
        "One penalty tuned by meta-gradient errs at most 5 % more than scikit-learn's cross-validated estimators.",
        lambda c: (
            f"{c.told('one_products', '+.1f', _percent)}% (ridge), {c.told('one_cancer', '+.0f', _percent)}% "
            f"(tumours); work {c.told('work_grid', '.2f')}"
        ),
    ),
}


def _gain(c: Claims, way: str) -> str:
    return c.told(f"{way}_less_grid_log_path", "+.2f")


def _less(c: Claims, problem: str) -> str:
    return c.told(f"near_{problem}", ".0%", lambda x: -x)
