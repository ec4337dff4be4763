"""How the averages at finite d approach the proportional limit, and Monte-Carlo descent against these averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft, linalg, stats

from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory.least_squares import Regression, average_case, marchenko_pastur, proportional_limit, tuned_limit
from metagrad.theory.numbers.filters import spectral_filter

claim = (
    "For nearly every X the averages over the targets deviate from the limit d/n -> gamma as their first order in 1/d "
    "says, risk and validation loss by less than 0.3 % at d = 1000, the train loss, where it is small and sits at the "
    "edge of the spectrum, by tens of percent at d = 200; and descent averages to them (setting: Wang et al. 2021, "
    "section 4; first order derived)"
)
QUANTITIES = ("train loss", "risk", "validation loss")
STEP_SIZES = ("train-by-train", "train-by-validation")  # which way chooses them, in the limit
_LEVEL = 0.05  # of a Monte-Carlo mean outside of its interval
_MEDIAN_ERROR = 1.17  # standard error of the median of |x|, x normal, times sqrt(number), relative


@dataclass(frozen=True)
class Config:
    """Spectra: numbers of inputs and how many X each. Descent: numbers of inputs, X each, targets for each X."""

    dimensions: tuple[int, ...]
    spectra: int
    matrices: int
    targets: int
    descents: tuple[int, ...] = (200, 500, 1000)
    gammas: tuple[float, ...] = (0.5, 2.0)
    steps: int = 40
    sigma: float = 1.0


presets = {
    "quick": Config(dimensions=(50, 100, 200, 500, 1000), spectra=50, matrices=1, targets=20),
    "default": Config(dimensions=(50, 100, 200, 500, 1000, 2000, 4000), spectra=200, matrices=4, targets=40),
    "paper": Config(dimensions=(50, 100, 200, 500, 1000, 2000, 4000, 8000), spectra=1000, matrices=20, targets=100),
}
expected_seconds = {"quick": 5.0, "default": 110.0, "paper": 2400.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("first_order", "train_first_order", "largest_at_1000", "train_edge", "monte_carlo")


def shards(config: Config) -> list[dict[str, Any]]:
    """Spectra, one number of inputs each; then descents, one X each."""
    spectra = [{"gamma": gamma, "d": d} for gamma in config.gammas for d in config.dimensions]
    repeats = range(config.matrices)
    return spectra + [
        {"gamma": gamma, "d": d, "matrix": k} for gamma in config.gammas for d in config.descents for k in repeats
    ]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return deviations from the limit (spectra, step sizes, quantities), or means and errors of a Monte-Carlo."""
    stream = (round(1000 * shard["gamma"]), shard["d"], shard.get("matrix", -1) + 1)
    rng = np.random.default_rng([context.seed, *stream])
    etas = _step_sizes(config, shard["gamma"])
    if "matrix" in shard:
        return _descents(config, shard, etas, rng)
    limit = _limits(config, shard["gamma"], etas)
    found = [_given_spectrum(config, shard, etas, rng) for _ in range(config.spectra)]
    return {"deviation": np.stack(found) / limit - 1}


def _step_sizes(config: Config, gamma: float) -> np.ndarray:
    """Return what train-by-train and train-by-validation choose in the limit."""
    tuned = (tuned_limit.step_size_tbt, tuned_limit.step_size_tbv)
    return np.array([float(choose(config.steps, gamma=gamma, sigma=config.sigma)) for choose in tuned])


def _limits(config: Config, gamma: float, etas: np.ndarray) -> np.ndarray:
    """Return the limits (step sizes, quantities)."""
    each = (proportional_limit.train_loss, proportional_limit.risk, proportional_limit.validation_loss)
    found = [limit(etas, config.steps, gamma=gamma, sigma=config.sigma).to_float() for limit in each]
    return np.stack(found, axis=-1)


def _given_spectrum(config: Config, shard: dict[str, Any], etas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return E T, E R and E V (step sizes, quantities) given an X, and an X_val of as many samples.

    They depend on X through its eigenvalues, and on X_val through v_j'H_val v_j, which is chi^2_n/n, so that neither
    matrix is needed.
    """
    d, n = shard["d"], round(shard["d"] / shard["gamma"])
    s = _eigenvalues(n, d, rng)
    sample = Regression(s, np.zeros_like(s), 0.0, np.zeros((d, 0)), n, d)
    train = average_case.expected_train_loss(sample, etas, config.steps, sigma=config.sigma).to_float()
    risk = average_case.expected_risk(sample, etas, config.steps, sigma=config.sigma).to_float()
    move = spectral_filter(s, etas, config.steps, "finite_dimension")
    h = move.value * np.exp(move.scale)[:, None]
    error = (1 - s * h) ** 2 / d + config.sigma**2 / n * s * h**2  # of w_t along v_j; their sum is the risk
    seen, unseen = rng.chisquare(n, len(s)) / n, rng.chisquare(n * (d - len(s))) / n if d > n else 0.0
    validation = (error @ seen + unseen / d + config.sigma**2) / 2
    return np.stack([train, risk, validation], axis=-1)


def _eigenvalues(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Return the nonzero eigenvalues of X'X/n for Gaussian X (n, d), exact in law.

    Reflections make X bidiagonal, with independent chi-distributed entries (Dumitriu and Edelman 2002).
    """
    few, many = sorted((n, d))
    diagonal = rng.chisquare(many - np.arange(few))
    below = rng.chisquare(np.arange(few - 1, 0, -1))
    coupling = np.sqrt(diagonal[:-1] * below)
    diagonal[1:] += below
    return linalg.eigh_tridiagonal(diagonal, coupling, eigvals_only=True) / n


def _descents(
    config: Config, shard: dict[str, Any], etas: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return means over targets, their standard errors, and the expectations given X, (step sizes, quantities)."""
    d, n = shard["d"], round(shard["d"] / shard["gamma"])
    X, X_val = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    w_star = rng.standard_normal((d, config.targets))
    w_star /= np.linalg.norm(w_star, axis=0)
    y, y_val = (Z @ w_star + config.sigma * rng.standard_normal((n, config.targets)) for Z in (X, X_val))
    found = []
    for eta in etas:
        w = np.zeros_like(w_star)
        for _ in range(config.steps):
            w -= eta / n * (X.T @ (X @ w - y))
        losses = (np.mean((Z @ w - target) ** 2, axis=0) / 2 for Z, target in ((X, y), (X_val, y_val)))
        train, validation = losses
        found.append([train, np.sum((w - w_star) ** 2, axis=0), validation])
    sample = Regression.of(X, np.zeros(n), method="gram")
    about = {"sigma": config.sigma}
    expected = [
        average_case.expected_train_loss(sample, etas, config.steps, **about),
        average_case.expected_risk(sample, etas, config.steps, **about),
        average_case.expected_validation_loss(sample, X_val, etas, config.steps, **about),
    ]
    return {
        "mean": np.mean(found, axis=-1),
        "error": np.std(found, axis=-1, ddof=1) / np.sqrt(config.targets),
        "expected": np.stack([value.to_float() for value in expected], axis=-1),
    }


def first_order(f: Callable[[np.ndarray], np.ndarray], gamma: float) -> tuple[float, float]:
    """Return mean and variance, for large d, of sum_j f(s_j) - d * (its limit), over all eigenvalues of X'X/n.

    With f(1 + gamma + 2 sqrt(gamma) cos theta) = a_0/2 + sum_k a_k cos(k theta): mean = (f(s_-) + f(s_+) - a_0)/4,
    variance = (1/2) sum_k k a_k^2 (Bai and Silverstein 2004, in this basis). f is a polynomial of degree below 1024.
    """
    theta = (np.arange(1024) + 0.5) * np.pi / 1024
    a = fft.dct(f(1 + gamma + 2 * np.sqrt(gamma) * np.cos(theta)), type=2) / 1024
    ends = f(np.array(marchenko_pastur.edges(gamma)))
    return float((ends.sum() - a[0]) / 4), float(np.sum(np.arange(1024) * a**2) / 2)


def _laws(config: Config, gamma: float, etas: np.ndarray) -> np.ndarray:
    """Return mean and spread of d (E/limit - 1) over X for large d, (2, step sizes, quantities)."""
    laws = np.array([_first_orders(config, gamma, eta) for eta in etas])
    return np.stack([laws[..., 0], np.sqrt(laws[..., 1])]) / _limits(config, gamma, etas)


def _first_orders(config: Config, gamma: float, eta: float) -> list[tuple[float, float]]:
    """Return mean and variance of d (E - limit) over X, for each quantity."""
    noise = config.sigma**2 * gamma

    def left(s: np.ndarray) -> np.ndarray:
        return (1 - eta * s) ** config.steps

    def error(s: np.ndarray) -> np.ndarray:  # of w_t along an eigenvector, times d
        return left(s) ** 2 + noise * (1 - left(s)) ** 2 / s

    train = first_order(lambda s: (s + noise) * left(s) ** 2 / 2, gamma)
    risk = first_order(error, gamma)
    nodes, weights = marchenko_pastur.rule(gamma, 4 * config.steps)
    square = float(np.sum(weights / nodes * error(nodes) ** 2) + marchenko_pastur.atom(gamma))
    return [train, risk, (risk[0] / 2, risk[1] / 4 + gamma * square / 2)]  # X_val adds to the variance


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return deviations (gammas, d, X, step sizes, quantities), Monte-Carlo (gammas, d, X, ...), laws and limits."""
    count = len(config.gammas) * len(config.dimensions)
    deviation = np.stack([part["deviation"] for part in parts[:count]])
    arrays = {"deviation": deviation.reshape(len(config.gammas), len(config.dimensions), *deviation.shape[1:])}
    for name in ("mean", "error", "expected"):
        found = np.stack([part[name] for part in parts[count:]])
        arrays[name] = found.reshape(len(config.gammas), len(config.descents), config.matrices, *found.shape[1:])
    etas = [_step_sizes(config, gamma) for gamma in config.gammas]
    arrays["law"] = np.stack([_laws(config, *each) for each in zip(config.gammas, etas, strict=True)], axis=1)
    arrays |= {"etas": np.stack(etas), "gammas": np.asarray(config.gammas)}
    arrays |= {"d": np.asarray(config.dimensions), "descents": np.asarray(config.descents)}
    gammas, many = None, (None, None, None, STEP_SIZES, QUANTITIES)
    names = {"deviation": many, "mean": many, "error": many, "expected": many, "etas": (gammas, STEP_SIZES)}
    names["law"] = (("mean", "spread"), gammas, STEP_SIZES, QUANTITIES)
    return Table(arrays, {"deviation": "parts of the limit", "law": "parts of the limit, times d"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """First order in 1/d everywhere, but late for the small train loss; Monte-Carlo within its intervals."""
    arrays = table.arrays
    size = np.median(np.abs(arrays["deviation"]), axis=2)  # gammas, d, step sizes, quantities
    factor = np.abs(np.log(size * arrays["d"][:, None, None] / law_median(arrays["law"])[:, None]))
    learned = float(np.exp(factor[:, arrays["d"] >= 200, :, 1:].max()))
    fitted = float(np.exp(factor[:, -1, :, 0].max()))
    few = np.exp(5 * _MEDIAN_ERROR / np.sqrt(config.spectra))
    middle, large = arrays["d"] == 200, arrays["d"] == 1000
    edge, inside = float(size[-1, middle, 0, 0].max()), float(size[:, large, :, 1:].max())
    return Verdict(
        claim,
        [
            Check(
                "first_order",
                "risk, validation: factor off the first order, d >= 200",
                learned,
                f"<= {few:.2f}",
                learned <= few,
            ),
            Check(
                "train_first_order",
                f"train loss: factor off it at d = {arrays['d'][-1]}",
                fitted,
                f"<= {few:.2f}",
                fitted <= few,
            ),
            Check(
                "largest_at_1000",
                "risk, validation: largest deviation at d = 1000 (median X)",
                inside,
                "<= 0.003",
                inside <= 0.003,
            ),
            Check(
                "train_edge", "train loss at TbT, gamma = 2, d = 200: deviation (median X)", edge, ">= 0.1", edge >= 0.1
            ),
            _monte_carlo_check(config, arrays),
        ],
    )


def _monte_carlo_check(config: Config, arrays: dict[str, np.ndarray]) -> Check:
    """Return whether no more intervals miss the average given X than chance allows."""
    limit = stats.t.ppf(1 - _LEVEL / 2, config.targets - 1)
    missed = np.abs(arrays["mean"] - arrays["expected"]) > limit * arrays["error"]
    worst, cases = float(missed.reshape(-1, len(QUANTITIES)).sum(axis=0).max()), missed[..., 0].size
    allowed = int(stats.binom.ppf(0.999, cases, _LEVEL))
    what = f"Monte-Carlo: intervals of {cases} that miss, worst quantity"
    return Check("monte_carlo", what, worst, f"<= {allowed}", worst <= allowed)


def law_median(law: np.ndarray) -> np.ndarray:
    """Return the median of |x| for x normal with the means law[0] and spreads law[1]."""
    return stats.foldnorm(np.abs(law[0]) / law[1], scale=law[1]).median()
