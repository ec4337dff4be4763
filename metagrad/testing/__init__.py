"""For tests of one's own: strategies for Hypothesis, and a meta-gradient held against an independent way to it.

| file             | what it has                                                                            |
|------------------|----------------------------------------------------------------------------------------|
| `matches`        | `assert_meta_gradient_matches`: what is compared with what, and the tolerances          |
| `by_theory`      | the closed form as the reference, and its digits                                        |
| `by_numbers`     | the comparison with numbers: of the closed form, or the caller's                        |
| `by_differences` | the comparison with differences of values, along lines                                  |
| `differences`    | a slope from values alone, of any size                                                  |
| `cases`          | what the comparisons have in common, and what they say                                  |
| `draws`          | small problems of a seed, and the largest curvature of a task                           |
| `strategies`     | strategies that draw them; they need Hypothesis: `pip install 'metagrad[testing]'`      |
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metagrad.testing.cases import Match, UnresolvedError
from metagrad.testing.draws import curvature, logistic_regression, quadratic, regression
from metagrad.testing.matches import assert_meta_gradient_matches

if TYPE_CHECKING:
    from metagrad.testing.strategies import (
        MetaCase,
        horizons,
        learned_rules,
        least_squares,
        logistic_regressions,
        meta_cases,
        objectives,
        quadratics,
        rules,
        step_sizes,
        tasks,
    )

__all__ = [
    "Match",
    "MetaCase",
    "UnresolvedError",
    "assert_meta_gradient_matches",
    "curvature",
    "horizons",
    "learned_rules",
    "least_squares",
    "logistic_regression",
    "logistic_regressions",
    "meta_cases",
    "objectives",
    "quadratic",
    "quadratics",
    "regression",
    "rules",
    "step_sizes",
    "tasks",
]


def __getattr__(name: str) -> Any:
    """Return a strategy; ImportError, which says what to install, where Hypothesis is not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.strategies"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hypothesis":
            raise
        raise ImportError(
            f"metagrad.testing: {name} is a strategy of Hypothesis, which is not installed; expected the extra "
            "`testing`. Write pip install 'metagrad[testing]'; assert_meta_gradient_matches works without.",
            name="hypothesis",
        ) from None


def __dir__() -> list[str]:
    """Return the names of the module, loaded or not."""
    return sorted({*globals(), *__all__})
