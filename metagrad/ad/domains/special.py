"""Examples of the functions of scipy.special."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special as sp

from metagrad.ad.domains.draws import Example, Kind, apart, between, nonzero, one, positive, real, two
from metagrad.ad.functions.special import TABLE

_INNER: Kind = between(0.1, 0.9)
_SIGNED: Kind = between(-0.9, 0.9)
_LARGER: Kind = between(1.2, 4.0)


def _with_order(order: Any, kind: Kind) -> list[Example]:
    return [(order, kind(3, 2)), (order, kind())]


_ZETA: Any = next(f for f in TABLE if f.__name__ == "_zeta")
_WEIGHTS = np.array([0.5, 2.0, 0.0])

EXAMPLES: dict[Any, list[Example]] = {
    **{f: one(real) for f in (sp.expit, sp.log_expit, sp.erf, sp.erfc, sp.erfcx, sp.ndtr, sp.log_ndtr)},
    sp.logit: one(_INNER),
    sp.erfinv: one(_SIGNED),
    sp.erfcinv: one(between(0.2, 1.8)),
    sp.ndtri: one(_INNER),
    **{f: one(positive) for f in (sp.digamma, sp.gammaln, sp.loggamma, sp.gamma, sp.rgamma)},
    sp.beta: two(positive, positive),
    sp.betaln: two(positive, positive),
    _ZETA: [(2.5, positive(3)), (np.array([2, 3]), positive(2, 2)), (2.0, positive())],
    sp.gammainc: [(2.5, positive(3)), (np.array([1, 3]), positive(2, 2)), (1.5, positive())],
    sp.gammaincc: [(2.5, positive(3)), (np.array([1, 3]), positive(2, 2)), (1.5, positive())],
    sp.betainc: [(2.5, 1.5, _INNER(3)), (np.array([1, 3]), 2.0, _INNER(2, 2))],
    sp.betaincc: [(2.5, 1.5, _INNER(3)), (np.array([1, 3]), 2.0, _INNER(2, 2))],
    sp.xlogy: [*two(real, positive), (np.array([0.0, 1.0, 2.0]), positive(2, 3)), (2, positive(3))],
    sp.xlog1py: two(real, positive),
    sp.entr: one(positive),
    sp.rel_entr: two(positive, positive),
    sp.kl_div: two(positive, positive),
    sp.huber: [(positive(3), apart(2, 3, offset=0.07)), (1.0, apart(4)), (1.0, apart()), (1.5, nonzero(2))],
    sp.pseudo_huber: two(positive, real),
    **{f: one(real) for f in (sp.expm1, sp.cosm1, sp.exp2, sp.exp10)},
    sp.log1p: one(positive),
    sp.cbrt: one(nonzero),
    sp.exprel: [*one(real), (between(-1e-3, 1e-3)(2, 2),), (between(1.8, 6.0)(4),)],
    sp.boxcox: [*two(positive, real), (positive(3), 0.0), (positive(3), 0.5)],
    sp.boxcox1p: [*two(positive, real), (positive(3), 0.0), (positive(3), 0.5)],
    sp.inv_boxcox: [(positive(3), 0.0), (positive(3), 0.5), (positive(), 0.5)],
    sp.inv_boxcox1p: [(positive(3), 0.0), (positive(3), 0.5), (positive(), 0.5)],
    **{f: _with_order(2, _LARGER) for f in (sp.jv, sp.yv, sp.iv, sp.kv, sp.yn, sp.kn, sp.ive)},
    **{f: one(nonzero) for f in (sp.j0, sp.j1, sp.i0, sp.i1, sp.i0e, sp.i1e, np.i0)},
    **{f: one(_LARGER) for f in (sp.y0, sp.y1, sp.k0, sp.k1)},
    sp.polygamma: [(0, positive(3)), (2, positive(2, 2)), (1, positive())],
    sp.multigammaln: [(_LARGER(3), 2), (_LARGER(2, 2), 1), (_LARGER(), 3)],
    sp.logsumexp: [
        (real(2, 3),),
        (real(2, 3), 1),
        (real(2, 3, 2), (0, -1)),
        (real(2, 3), 0, positive(3)),
        (real(2, 3), 1, _WEIGHTS),
        (real(3), None, positive(2, 3), True),
        (real(),),
    ],
    sp.softmax: [(real(),), (real(2, 3),), (real(2, 3), 1), (real(2, 3, 2), (0, -1))],
    sp.log_softmax: [(real(),), (real(2, 3),), (real(2, 3), 1), (real(2, 3, 2), (0, -1))],
}
