"""Theory as an estimator: the exact meta-gradient on quadratics and least squares, at any horizon.

| file          | what it has                                                                        |
|---------------|------------------------------------------------------------------------------------|
| `estimator`   | `ClosedForm`                                                                       |
| `quadratics`  | the closed forms of `Quadratic` and `DiagonalQuadratic`                            |
| `momenta`     | the closed forms of heavy ball and Nesterov on them                                |
| `regressions` | the closed forms of `LeastSquares`, task by task                                   |
| `_digits`     | how many digits are left of a number, by what rounding of its data does to it      |
| `_shared`     | what the others have in common                                                     |

Beside `metagrad.diagnosis.known` the only place of the engine that looks at `metagrad.theory`; they share no code,
which is what makes their agreement evidence.
"""

from metagrad.estimators.closed_form.estimator import ClosedForm

__all__ = ["ClosedForm"]
