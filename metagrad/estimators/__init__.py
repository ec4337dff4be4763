"""Ways to a meta-gradient, one file each, all with the call of `metagrad.protocols.Estimator`."""

from typing import Any

from metagrad.estimators.closed_form import ClosedForm
from metagrad.estimators.forward import Forward
from metagrad.estimators.implicit import Implicit
from metagrad.estimators.reptile import Reptile
from metagrad.estimators.reverse import Reverse
from metagrad.estimators.value import Value
from metagrad.estimators.windows import Windows

# What `method=` can name: the one list of estimators that give a meta-gradient.
METHODS: dict[str, Any] = {
    "reverse": Reverse,
    "forward": Forward,
    "windows": Windows,
    "closed_form": ClosedForm,
    "implicit": Implicit,
    "reptile": Reptile,
}

__all__ = ["METHODS", "ClosedForm", "Forward", "Implicit", "Reptile", "Reverse", "Value", "Windows"]
