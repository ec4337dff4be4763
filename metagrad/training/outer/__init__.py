"""Outer steps: from a meta-gradient to the next meta-parameters (`metagrad.protocols.Outer`), one file each."""

from metagrad.training.outer.descent import Descent
from metagrad.training.outer.through import Through

__all__ = ["Descent", "Through"]
