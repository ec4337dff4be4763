"""What theory says of a case, and to how many digits: the reference that shares no code with the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from metagrad import parts
from metagrad.estimators import ClosedForm
from metagrad.protocols import Digits, Estimate
from metagrad.scaled import Scaled
from metagrad.testing.cases import Case, length
from metagrad.xp import float_info, to_host


def closed_form(case: Case, gradient: Any) -> Estimate:
    """Return the closed form, of the mean over tasks where phi is one for all; ValueError where there is none.

    Its digits are those of each task's gradient. Those of a mean are counted from them here: where the gradients of
    tasks cancel there are fewer.
    """
    given = (case.task, case.rule, case.objective)
    found = ClosedForm(gradient=gradient, per_task=case.per_task)(*given, case.phi, steps=case.steps, seed=case.seed)
    batch = len(found.value)
    if case.per_task or batch == 1:
        return found
    led = int(bool(parts.entries(case.rule)))  # a schedule leads with time, and the tasks come after it
    eta = np.asarray(to_host(case.phi.eta), dtype=np.float64)
    phi = type(case.phi)(np.repeat(np.expand_dims(eta, led), batch, axis=led))
    each = ClosedForm(gradient=gradient, per_task=True)(*given, phi, steps=case.steps, seed=case.seed)
    assert each.digits is not None
    assert each.digits.gradient is not None
    sizes = length(each.grad, [led])
    lost = (sizes * Scaled.of(10.0**-each.digits.gradient)).mean() / length(found.grad, [None])
    log = np.minimum(to_host(lost.log10abs()), 0.0)
    of_mean = np.full(batch, np.clip(-log, 0.0, -np.log10(float_info("float64").eps)))
    return replace(found, digits=Digits(each.digits.value, of_mean))
