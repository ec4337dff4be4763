"""Ways to a meta-gradient, one file each, all with the call of `metagrad.protocols.Estimator`."""

from metagrad.estimators.closed_form import ClosedForm
from metagrad.estimators.forward import Forward
from metagrad.estimators.reverse import Reverse

__all__ = ["ClosedForm", "Forward", "Reverse"]
