"""What can go wrong with a meta-gradient, measured and held against theory, in words, numbers and a figure.

| module       | what it finds                                                                              |
|--------------|--------------------------------------------------------------------------------------------|
| `growth`     | growth rates of state, adjoint and tangent (Lyapunov number), with intervals               |
| `regimes`    | contracting, neutral, exploding, chaotic, floor; a meta-gradient that vanishes or explodes |
| `horizons`   | after how many steps plain floats break, and the engine                                    |
| `reach`      | how large a change of phi the meta-gradient predicts                                       |
| `bias`       | what stop-gradient and windows give instead                                                |
| `cost`       | the memory of each plan, the time of a step                                                |
| `known`      | what theory knows: horizons of quadratics, the phase diagram of validation                 |
| `convert`    | the parts in another dtype                                                                 |
| `words`      | sentences, each with what to change                                                        |
| `figure`     | the figure                                                                                 |
"""

from metagrad.diagnosis.report import Diagnosis, Finding
from metagrad.diagnosis.run import diagnose

__all__ = ["Diagnosis", "Finding", "diagnose"]
