"""The closed forms of the best schedules with noise, derived by sympy.

With p_k = gamma^{k/2} U_k(z), z = (1 + gamma + delta)/(2 sqrt gamma): p_0 = 1, p_1 = 1 + gamma + delta and
p_{k+1} = (1 + gamma + delta) p_k - gamma p_{k-1}, so that nothing but polynomials in gamma and delta is left:

    risk of the best T steps = signal (1 - p_{T-1}/p_T),
    P(s) ~ [s pi_T(s) + delta (-1)^T p_T]/(s + delta),   pi_T(s) = (-1)^T p_T at delta = -s.

Two steps have the discriminant 4 gamma - 4 delta (1 + gamma) - 3 delta^2, so the boundary of `regimes` is

    delta*_2 = (2/3) (sqrt((1 + gamma)^2 + 3 gamma) - 1 - gamma).

For more steps delta*_T is the least positive root in delta of the discriminant of P. sympy is imported when a function
is called.
"""

from __future__ import annotations

from typing import Any

from metagrad.theory.schedules._checks import checked_steps

Expression = Any
_LONGEST = 12


def square() -> tuple[Expression, Expression]:
    """Return the integrand of the risk over signal, and what completing its square makes of it: the two are equal.

    >>> import sympy as sp
    >>> sp.simplify(square()[0] - square()[1])
    0
    """
    import sympy as sp

    s, q, delta = sp.symbols("s q delta", positive=True)
    plain = (1 - s * q) ** 2 + delta * s * q**2
    completed = delta / (s + delta) + s / (s + delta) * (1 - (s + delta) * q) ** 2
    return plain, completed


def best_risk(steps: int) -> Expression:
    """Return the least risk of T = `steps` steps over signal, a rational function of gamma and delta; T <= 12.

    >>> best_risk(4).subs({"gamma": "1/2", "delta": "1/2"})
    17/41
    """
    import sympy as sp

    count = checked_steps("best_risk", steps, _LONGEST, "Longer: proportional.best_risk.")
    gamma, delta = sp.symbols("gamma delta")
    found = _chain(count, 1 + gamma + delta, gamma)
    return sp.factor(sp.cancel(1 - found[count - 1] / found[count]))


def residual(steps: int) -> Expression:
    """Return P(s), 1 at s = 0, of the best T = `steps` steps without decay, in s, gamma and delta; T <= 12.

    >>> residual(1).subs({"gamma": 1, "s": 2})
    delta/(delta + 2)
    """
    import sympy as sp

    count = checked_steps("residual", steps, _LONGEST, "Longer: regimes.polynomial_zeros.")
    s, gamma, delta = sp.symbols("s gamma delta")
    at_minus_delta = sp.expand(_chain(count, 1 + gamma + delta, gamma)[count])
    at_s = sp.expand(_chain(count, 1 + gamma - s, gamma)[count])  # (-1)^T pi_T(s)
    over = sp.expand(s * at_s + delta * at_minus_delta)
    quotient, rest = sp.div(sp.Poly(over, s), sp.Poly(s + delta, s))
    if not rest.is_zero:  # -delta is a zero by construction
        raise ArithmeticError("residual: the division by s + delta left a remainder.")
    return quotient.as_expr() / sp.expand(at_minus_delta)


def discriminant(steps: int) -> Expression:
    """Return the discriminant in s of P, but for a factor, in gamma and delta: it vanishes at the boundary; T <= 12.

    >>> discriminant(2)
    -3*delta**2 - 4*delta*gamma - 4*delta + 4*gamma
    """
    import sympy as sp

    s = sp.Symbol("s")
    upper = sp.numer(sp.together(residual(steps)))
    return sp.expand(sp.discriminant(sp.Poly(upper, s)))


def boundary_decay(gamma: Expression, steps: int) -> Expression:
    """Return delta*_T as an exact number, the least positive root of the discriminant, for rational gamma, T = 2 to 6.

    >>> boundary_decay("1/2", 2)
    -1 + sqrt(15)/3
    """
    import sympy as sp

    from metagrad.theory.numbers.checks import bad_value

    count = checked_steps("boundary_decay", steps, 6, "Longer: regimes.boundary_decay.")
    ratio = sp.Rational(gamma)
    if ratio <= 0 or count < 2:
        name, came = ("gamma", ratio) if ratio <= 0 else ("steps", count)
        bad_value("boundary_decay", name, came, "a rational above 0" if ratio <= 0 else "2 to 6: one step needs none")
    s, delta = sp.symbols("s delta")
    upper = sp.numer(sp.together(residual(count).subs("gamma", ratio)))
    roots = sp.Poly(sp.discriminant(sp.Poly(upper, s)), delta).real_roots(multiple=True)
    return next(root for root in roots if root > 0)


def _chain(steps: int, middle: Expression, gamma: Expression) -> list[Expression]:
    """Return p_0 .. p_T with p_1 = `middle`."""
    import sympy as sp

    found = [sp.Integer(1), middle]
    for _ in range(steps - 1):
        found.append(sp.expand(middle * found[-1] - gamma * found[-2]))
    return found
