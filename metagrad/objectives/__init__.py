"""Meta-objectives: what the meta-parameters are tuned for, one file each."""

from metagrad.objectives.final import Final
from metagrad.objectives.log_excess import LogExcess
from metagrad.objectives.log_final import LogFinal
from metagrad.objectives.mean import Mean
from metagrad.objectives.mean_log import MeanLog
from metagrad.objectives.weighted_sum import WeightedSum

__all__ = ["Final", "LogExcess", "LogFinal", "Mean", "MeanLog", "WeightedSum"]
