"""The closed forms of `momentum`, derived by sympy from the recursions of heavy ball and Nesterov.

| step                                    | how                                                                  |
|-----------------------------------------|----------------------------------------------------------------------|
| `steps_of`: r_0, r_1, .., r_n           | the rule itself, step by step, with symbols h and beta               |
| `generating`                            | sum_t r_t x^t solved from the two-term recursion and its first terms |
| `identities`: r_h, r_beta of `iterates` | the derivatives of the generating function, minus the printed ones   |
| `iterate`: r_t for symbolic t           | A z1^t + B z2^t, with A and B solved from r_0 and r_1                |
| `derivatives`                           | `iterate` differentiated twice in h and beta                         |
| `double_root`: r_t, g_h, g_beta         | the printed forms at z = +-b, minus those of the steps               |
| `pole_is_a_zero`                        | r_2 at the two eigenvalues, with eta and beta of `bounds.pole`       |

`numeric` turns an expression into a function for mpmath numbers. sympy is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from metagrad.theory.momentum.iterates import RULES, Rule
from metagrad.theory.numbers.checks import check_choice, count

Expression = Any


@cache
def symbols() -> dict[str, Any]:
    """Return the symbols h, beta, x, z (real or positive) and t (a positive integer)."""
    import sympy as sp

    found = {"h": sp.Symbol("h", real=True), "beta": sp.Symbol("beta", positive=True), "x": sp.Symbol("x")}
    return found | {"z": sp.Symbol("z", real=True), "t": sp.Symbol("t", integer=True, positive=True)}


@cache
def steps_of(rule: Rule, steps: int) -> tuple[Expression, ...]:
    """Return r_0..r_n as polynomials in h and beta, by the rule itself on f(w) = h w^2/2 with eta = 1.

    >>> steps_of("heavy_ball", 2)[1]
    1 - h
    """
    import sympy as sp

    check_choice("steps_of", "rule", rule, RULES)
    n = count("steps_of", "steps", steps)
    h, beta = symbols()["h"], symbols()["beta"]
    w, before = sp.Integer(1), sp.Integer(1)
    found = [w]
    for _ in range(n):
        ahead = w + beta * (w - before)
        w, before = sp.expand(ahead - h * (w if rule == "heavy_ball" else ahead)), w
        found.append(sp.expand(w + beta * (w - before)) if rule == "nesterov_ahead" else w)
    return tuple(found)


@cache
def generating(rule: Rule) -> Expression:
    """Return R(x) = sum_t r_t x^t = (r_0 + (r_1 - tau r_0) x)/(1 - tau x + delta x^2).

    It is what r_{t+2} = tau r_{t+1} - delta r_t says of the series.
    """
    s = symbols()
    tau, delta = _trace_and_determinant(rule)
    first, second = steps_of(rule, 1)
    return (first + (second - tau * first) * s["x"]) / (1 - tau * s["x"] + delta * s["x"] ** 2)


def identities(rule: Rule) -> dict[str, Expression]:
    """Return derived minus printed generating functions of r, r_h and r_beta, each of which sympy reduces to zero."""
    import sympy as sp

    s = symbols()
    h, beta, x = s["h"], s["beta"], s["x"]
    tau, delta = _trace_and_determinant(rule)
    D, R = 1 - tau * x + delta * x**2, generating(rule)
    first = delta if rule == "nesterov" else beta
    printed = {"r": (1 - first * x) / D}
    if rule == "nesterov_ahead":
        printed["beta"] = -h * x / D**2
        printed["h"] = -(1 - beta * x) * x * ((1 + beta) - beta * x) / D**2
    else:
        printed["h"] = -x * (1 - beta * x) / D**2
        printed["beta"] = -h * (1 - h if rule == "nesterov" else 1) * x**2 / D**2
    derived = {"r": R, "h": sp.diff(R, h), "beta": sp.diff(R, beta)}
    return {name: sp.cancel(sp.together(derived[name] - printed[name])) for name in printed}


@cache
def iterate(rule: Rule) -> Expression:
    """Return r_t for symbolic t at roots that differ: A z1^t + B z2^t with A + B = r_0, A z1 + B z2 = r_1."""
    import sympy as sp

    tau, delta = _trace_and_determinant(rule)
    t = symbols()["t"]
    root = sp.sqrt(tau**2 - 4 * delta)
    z1, z2 = (tau + root) / 2, (tau - root) / 2
    A, B = sp.symbols("A B")
    first, second = steps_of(rule, 1)
    solved = sp.solve([A + B - first, A * z1 + B * z2 - second], [A, B], dict=True)[0]
    return solved[A] * z1**t + solved[B] * z2**t


@cache
def derivatives(rule: Rule) -> tuple[Expression, ...]:
    """Return r, r_h, r_beta, r_hh, r_h_beta and r_beta_beta for symbolic t, by differentiation of `iterate`."""
    import sympy as sp

    h, beta = symbols()["h"], symbols()["beta"]
    r = iterate(rule)
    in_h, in_beta = sp.diff(r, h), sp.diff(r, beta)
    return r, in_h, in_beta, sp.diff(in_h, h), sp.diff(in_h, beta), sp.diff(in_beta, beta)


def double_root(steps: int) -> tuple[Expression, ...]:
    """Return printed minus derived r_t, g_h and g_beta of heavy ball at h = (1 - z)^2, beta = z^2; all are zero."""
    import sympy as sp

    s, t = symbols(), count("double_root", "steps", steps)
    z, h, beta = s["z"], s["h"], s["beta"]
    r = steps_of("heavy_ball", t)[-1]
    at = {h: (1 - z) ** 2, beta: z**2}
    value, in_h, in_beta = (sp.expand(x.subs(at)) for x in (r, sp.diff(r, h), sp.diff(r, beta)))
    size = 1 + t * (1 - z)
    printed_h = -sp.Rational(t + 1) * (t + 2 - z * (t - 1)) / (3 * z * size)
    printed_beta = -((1 - z) ** 2) * sp.Rational(t**2 - 1) / (3 * z**2 * size)
    slopes = (sp.Rational(2, t) * x / value for x in (in_h, in_beta))
    differences = (printed - slope for printed, slope in zip((printed_h, printed_beta), slopes, strict=True))
    return (sp.expand(z**t * size - value), *(sp.cancel(sp.together(x)) for x in differences))


def pole_is_a_zero() -> tuple[Expression, Expression]:
    """Return r_2 of heavy ball at eta alpha and eta L, with eta and beta of `bounds.pole`; both are zero."""
    import sympy as sp

    s = symbols()
    alpha, ratio = sp.symbols("alpha q", positive=True)  # L = q^4 alpha
    L = ratio**4 * alpha
    eta, beta = 1 / sp.sqrt(alpha * L), (ratio - 1 / ratio) ** 2
    r = steps_of("heavy_ball", 2)[-1]
    first, second = (sp.simplify(r.subs({s["h"]: eta * x, s["beta"]: beta})) for x in (alpha, L))
    return first, second


def numeric(expression: Expression) -> Callable[..., Any]:
    """Return the expression as a function of (h, beta, t) for mpmath numbers at their precision."""
    import sympy as sp

    s = symbols()
    function: Callable[..., Any] = sp.lambdify((s["h"], s["beta"], s["t"]), expression, modules="mpmath", cse=True)
    return function


def _trace_and_determinant(rule: Rule) -> tuple[Expression, Expression]:
    check_choice("symbolic", "rule", rule, RULES)
    h, beta = symbols()["h"], symbols()["beta"]
    return (1 + beta - h, beta) if rule == "heavy_ball" else ((1 + beta) * (1 - h), beta * (1 - h))
