"""What a meta-training run is made of, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from metagrad import checks
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import GradientKind
from metagrad.training.outer.through import check_limit

Select = Literal["final", "log_final", "mean", "mean_log"]
Measured = Literal["loss", "squared_norm", "train", "excess", "validation", "risk"]
_CHOICES: dict[str, list[Any]] = {
    "select": ["final", "log_final", "mean", "mean_log"],
    "measure": [None, "loss", "squared_norm", "train", "excess", "validation", "risk"],
    "gradient": [None, "full", "stop_gradient"],
    "on_nonfinite": ["stop", "skip"],
}


@dataclass(frozen=True)
class Recipe:
    """Truncated unrolls with carried state, as in Andrychowicz et al. 2016.

    An episode is a fresh task: `horizon` steps in windows of `window`, and one step of the outer optimizer after each
    window. `curriculum`: pairs (first episode, horizon) that replace `horizon` from that episode on, ascending.
    `outer_factors`: pairs (first episode, factor of the outer step size from that episode on), ascending: meta-training
    settles where the step size falls in the end.
    `gradient`: through the optimizee's gradient ("full"), or with it held constant ("stop_gradient", as published):
    which one `Trainer` takes where it is given no estimator. None leaves it to the estimator.
    `clip_norm`, `clip_value`: the meta-gradient's largest norm over all meta-parameters, and largest entry; None for
    none. What was clipped is reported; a meta-gradient with inf or NaN is never clipped to a number. With
    `on_nonfinite="stop"` its episode ends without a step, with "skip" it goes on with its next window; after
    `patience_nonfinite` episodes in a row that were stopped, or had no step but such, the run ends.
    `evaluate_every` episodes, `evaluation_tasks` tasks that training never sees run for `evaluation_steps` steps; the
    meta-parameters with the least `select` of `measure` are kept: "final", "log_final" (the mean log10 of the last),
    "mean" over the run, "mean_log" (of log10). Take the one that is nearest to the objective: by another one the best
    may be an accident on the way. `measure`: a name of `metagrad.measures`, or None for what the objective itself looks
    at. `patience`: evaluations without a better one after which the run ends; None for all `episodes`.
    """

    episodes: int
    horizon: int = 100
    window: int = 20
    curriculum: tuple[tuple[int, int], ...] = ()
    outer_factors: tuple[tuple[int, float], ...] = ()
    gradient: GradientKind | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    on_nonfinite: Literal["stop", "skip"] = "stop"
    patience_nonfinite: int = 10
    evaluate_every: int = 100
    evaluation_tasks: int = 1
    evaluation_steps: int = 100
    select: Select = "final"
    measure: Measured | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        counts = ["episodes", "horizon", "window", "patience_nonfinite", "evaluate_every", "evaluation_tasks"]
        for name in [*counts, "evaluation_steps"]:
            object.__setattr__(self, name, checks.count("Recipe", name, getattr(self, name)))
        if self.patience is not None:
            checks.count("Recipe", "patience", self.patience)
        for name in ("clip_norm", "clip_value"):
            check_limit("Recipe", name, getattr(self, name))
        for name, known in _CHOICES.items():
            checks.choice("Recipe", name, getattr(self, name), known)
        self._check_stages("curriculum", self.curriculum)
        self._check_stages("outer_factors", self.outer_factors)
        for _, horizon in self.curriculum:
            checks.count("Recipe", "a horizon of curriculum", horizon)
        for first, factor in self.outer_factors:
            if not checks.number("Recipe", f"a factor of outer_factors, from episode {first} on,", factor) > 0:
                bad_value("Recipe", "outer_factors", (first, factor), "a finite factor above 0")

    def _check_stages(self, name: str, stages: tuple[tuple[int, float], ...]) -> None:
        pairs = isinstance(stages, tuple) and all(isinstance(stage, tuple) and len(stage) == 2 for stage in stages)
        if not pairs or not all(type(first) is int for first, _ in stages):
            bad_type("Recipe", name, checks.shown(stages), "a tuple of pairs, each with a first episode")
        firsts = [first for first, _ in stages]
        if firsts != sorted(set(firsts)):
            bad_value("Recipe", name, stages, "first episodes in ascending order")
        for first, _ in stages:
            if first < 0:
                bad_value("Recipe", name, first, "a first episode >= 0")

    def horizon_of(self, episode: int) -> int:
        """Return the horizon of an episode, counted from 0."""
        return int(_stage(episode, self.curriculum, self.horizon))

    def outer_factor_of(self, episode: int) -> float:
        """Return the factor of the outer step size in an episode, counted from 0."""
        return _stage(episode, self.outer_factors, 1.0)

    def windows_of(self, episode: int) -> list[int]:
        """Return the lengths of the windows of an episode; the last one takes what is left of the horizon."""
        horizon = self.horizon_of(episode)
        whole, rest = divmod(horizon, self.window)
        return [self.window] * whole + ([rest] if rest else [])


def _stage(episode: int, stages: tuple[tuple[int, float], ...], value: float) -> float:
    """Return the value of the last stage that has begun, or the one given if none has."""
    for first, later in stages:
        if episode >= first:
            value = later
    return value
