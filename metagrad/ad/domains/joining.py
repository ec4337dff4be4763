"""Examples of the functions that join and cut arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

EXAMPLES: dict[Any, list[Example]] = {
    np.atleast_1d: [(real(),), (real(2),), (real(), real(2))],
    np.atleast_2d: [(real(),), (real(2),), (real(2), real(1, 2, 2))],
    np.atleast_3d: [(real(),), (real(2),), (real(2, 3),), (real(2, 1, 2), real(2))],
    np.hstack: [((real(2), real(3)),), ((real(2, 1), real(2, 2)),), ((real(), real()),)],
    np.vstack: [((real(2), real(3, 2)),), ((real(2), real(2)),), ((real(), real()),)],
    np.dstack: [((real(2), real(2)),), ((real(2, 3), real(2, 3, 2)),)],
    np.column_stack: [((real(2), real(2, 3)),), ((real(), real()),)],
    np.append: [(real(2, 3), real(2)), (real(2, 3), real(1, 3), 0), (real(2, 3), real(2, 1), -1)],
    np.block: [(real(2, 3),), (real(),)],
    np.split: [(real(4, 3), 2), (real(2, 5), (1, 3), -1)],
    np.array_split: [(real(5, 2), 3), (real(2, 5), (1, 4), 1), (real(2), 3)],
    np.hsplit: [(real(4), 2), (real(2, 3, 2), (1,))],
    np.vsplit: [(real(4, 2), 2)],
    np.dsplit: [(real(2, 2, 3), (1, 2))],
    np.unstack: [(real(2, 3),)],
}
