"""A property test of one's own: the meta-gradient against theory, differences, and G' as sympy derives it."""

from hypothesis import given, settings

import metagrad as mg
from metagrad import testing
from metagrad.theory.quadratic import symbolic

names = symbolic.symbols(1)  # one eigenvalue h, one weight w_0^2
slope = symbolic.numeric(symbolic.last_iterate(1)["dG"], (names["eta"], *names["eigenvalues"], *names["weights"]))
seen = []


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(testing.quadratics(batch=(1, 1), d=(1, 1), diagonal=True), testing.step_sizes(2.0), testing.horizons(30))
def test_the_log_objective(task, eta, steps):
    exact = float(slope(eta, task.eigenvalues[0, 0], task.w0[0, 0] ** 2))  # the same at every horizon
    case = (task, mg.GradientDescent(), mg.LogFinal(), eta, steps)
    seen.extend(testing.assert_meta_gradient_matches(*case, against=x) for x in ("closed_form", "differences", exact))


test_the_log_objective()
print(f"{len(seen)} comparisons; the one of fewest digits {min(seen, key=lambda match: match.digits)}")
