"""Linear regression by least squares: training, validation and population loss, full batch or minibatches.

| file       | what it has                                                                                   |
|------------|-----------------------------------------------------------------------------------------------|
| `task`     | `LeastSquares`: f(w) = ||Xw - y||^2/(2n), its minibatches, its gradient and its measures      |
| `solution` | the least-squares solution, the smallest loss, and the coordinates about the solution         |
| `draws`    | random tasks, and the split of samples into training and validation                           |
"""

from metagrad.tasks.least_squares.draws import random_least_squares, random_regressions, split_task
from metagrad.tasks.least_squares.task import LeastSquares

__all__ = ["LeastSquares", "random_least_squares", "random_regressions", "split_task"]
