"""Meta-training runs on disk, side by side: read, gathered over seeds, drawn."""

from metagrad.training.runs.draw import plot_runs

__all__ = ["plot_runs"]
