"""Tools for tests of one's own: strategies for Hypothesis, and a meta-gradient against an independent way to it."""

from metagrad.testing.cases import Match, UnresolvedError
from metagrad.testing.matches import assert_meta_gradient_matches

__all__ = ["Match", "UnresolvedError", "assert_meta_gradient_matches"]
