"""The trained coordinate-wise LSTM against tuned hand-designed optimizers, on networks for real digits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis import _baselines
from analysis.framework.contract import Check, Table, Verdict
from metagrad import MLP, image_classifiers
from metagrad.data import load_digits5000
from metagrad.errors import bad_value, nearest
from metagrad.training.trained import load_trained
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng

claim = (
    "A coordinate-wise LSTM, meta-trained on the sum of the losses of 100 steps of a small sigmoid network for real "
    "digits, has on fresh networks of that kind, for images that it never saw, a smaller mean loss along the way, and "
    "at the end, than every baseline with a tuned step size (Andrychowicz et al. 2016, section 3.2, on 5,000 of the "
    "digits); what becomes of it with more units, two layers and ReLU is measured."
)
TRAINED = "lstm_digits"
RULES = ("LSTM", *_baselines.NAMES)
NETS = {
    "trained": MLP((784, 20, 10), "sigmoid", 0.01),
    "units": MLP((784, 40, 10), "sigmoid", 0.01),
    "layers": MLP((784, 20, 20, 10), "sigmoid", 0.01),
    "relu": MLP((784, 20, 10), "relu", 0.01),
}


@dataclass(frozen=True)
class Config:
    """Networks to tune step sizes on, fresh ones to compare on; their kinds; steps; those averaged at the end."""

    tuning: int = 4
    fresh: int = 12
    nets: tuple[str, ...] = tuple(NETS)
    steps: int = 100
    last: int = 10
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Check what intervals and names need."""
        if self.fresh < 2:
            bad_value("lstm_digits", "fresh", self.fresh, "at least 2 networks", "One has no interval.")
        if unknown := [net for net in self.nets if net not in NETS]:
            bad_value("lstm_digits", "nets", unknown[0], "a known kind", nearest(str(unknown[0]), list(NETS)))


presets = {
    "quick": Config(tuning=1, fresh=5, nets=("trained",)),
    "default": Config(),
    "paper": Config(tuning=10, fresh=100),
}
expected_seconds = {"quick": 26.0, "default": 260.0, "paper": 4000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    found = []
    for net in config.nets:
        found += [f"{net}_path", f"{net}_end"] + ["trained_share"] * (net == "trained")
    return tuple(found)


def shards(config: Config) -> list[dict[str, Any]]:
    """Return the LSTM and each baseline on each kind of network."""
    return [{"net": net, "rule": rule} for net in config.nets for rule in RULES]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the minibatch losses (steps + 1, networks) of fresh networks, with the tuned step size if there is one."""
    images, name = load_digits5000(), shard["rule"]
    unseen = replace(images, train_x=images.test_x, train_y=images.test_y)  # by the LSTM, and by the search

    def networks(stream: str, data: Any, count: int) -> tuple[Any, int]:
        seed = int(rng(context.seed, TRAINED, shard["net"], stream).integers(2**31))
        return image_classifiers(data, NETS[shard["net"]], count, seed=seed, batch_size=config.batch_size), seed

    if name == "LSTM":
        trained = load_trained(TRAINED)
        eta, rule = np.nan, (trained.optimizer, trained.phi)
    else:
        task, seed = networks("tuning", images, config.tuning)
        searched = _baselines.search(name, task, config.steps, seed)
        eta = float(_baselines.STEP_SIZES[_baselines.best(searched[:, -config.last :].mean(axis=1))])
        rule = _baselines.baseline(name, eta)
    task, seed = networks("fresh", unseen, config.fresh)
    return {"curves": rollout(task, *rule, steps=config.steps, seed=seed), "eta": np.array(eta)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return mean losses with 95 % intervals over networks, and paired differences of the last steps."""
    from scipy.stats import t as student

    rules = len(RULES)
    curves = np.stack([part["curves"] for part in parts]).astype(np.float64)
    curves = curves.reshape(len(config.nets), rules, *curves.shape[1:])
    factor = student.ppf(0.975, config.fresh - 1) / np.sqrt(config.fresh)
    ends = curves[:, :, -config.last :].mean(axis=2)  # (nets, rules, networks)
    return Table(
        {
            "mean": curves.mean(axis=-1),
            "width": factor * curves.std(axis=-1, ddof=1),
            "end": ends.mean(axis=-1),
            "end_width": factor * ends.std(axis=-1, ddof=1),
            "eta": np.array([float(part["eta"]) for part in parts]).reshape(len(config.nets), rules),
            "path": curves.mean(axis=(2, 3)),
            "path_gain": _lower_end(curves[:, 1:].mean(axis=2) - curves[:, :1].mean(axis=2), factor),
            "end_gain": _lower_end(ends[:, 1:] - ends[:, :1], factor),
        },
        {"mean": "nats", "end": "nats", "eta": "1"},
        dict.fromkeys(("mean", "width", "end", "end_width", "eta", "path"), (config.nets, RULES))
        | dict.fromkeys(("path_gain", "end_gain"), (config.nets, _baselines.NAMES)),
    )


def _lower_end(gains: np.ndarray, factor: float) -> np.ndarray:
    """Return the lower end of the 95 % interval of the mean over the last axis."""
    return gains.mean(axis=-1) - factor * gains.std(axis=-1, ddof=1)


def verdict(config: Config, table: Table) -> Verdict:
    """Compare the whole way and the last steps, network by network: how far ahead of any baseline the LSTM is."""
    arrays, checks = table.arrays, []
    for row, net in enumerate(config.nets):
        judged = net == "trained"
        for short, what in (("path", "mean loss of all steps"), ("end", "loss at the end")):
            gain = float(arrays[f"{short}_gain"][row].min())
            name = f"{net}: {what}, any baseline less the LSTM, paired, at least"
            checks.append(Check(f"{net}_{short}", name, gain, "> 0" if judged else "measured", not judged or gain > 0))
        if judged:
            share = float(arrays["end"][row, 0] / arrays["mean"][row, 0, 0])
            checks.append(Check("trained_share", "trained: last loss over the first", share, "<= 0.25", share <= 0.25))
    return Verdict(claim, checks)
