"""Update rules with meta-parameters, one file each."""

from metagrad.optimizers.gradient_descent import GradientDescent
from metagrad.optimizers.scheduled import Scheduled
from metagrad.optimizers.truncated import Truncated

__all__ = ["GradientDescent", "Scheduled", "Truncated"]
