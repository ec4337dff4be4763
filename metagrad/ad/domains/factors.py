"""Examples of the functions that factor matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, definite
from metagrad.ad.domains.linalg import RECTANGLES, SQUARE

DEFINITE: list[Example] = [(definite(1, 1),), (definite(3, 3),), (definite(2, 3, 3),), (definite(2, 2),)]

EXAMPLES: dict[Any, list[Example]] = {
    np.linalg.cholesky: DEFINITE,
    np.linalg.eigh: [*DEFINITE, (definite(3, 3), "U")],
    np.linalg.eigvalsh: [*DEFINITE, (definite(3, 3), "U")],
    np.linalg.svd: [*SQUARE[:3], *[(*e, False) for e in RECTANGLES], *[(*e, True, False) for e in RECTANGLES]],
    np.linalg.svdvals: RECTANGLES,
    np.linalg.qr: [*RECTANGLES, *[(*example, "r") for example in RECTANGLES]],
}
