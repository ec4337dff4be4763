"""Every closed form of `quadratic`, derived by sympy from the definition w_{k+1} = (1 - eta lambda_i) w_k.

| step                                      | how                                                             |
|-------------------------------------------|-----------------------------------------------------------------|
| `iterate`                                 | the recursion solved by `rsolve` for symbolic t                 |
| `last_iterate`: F, F', F'', G, G', G''    | w_t squared and summed over d modes, then differentiated        |
| `weighted`: Phi, Phi'                     | symbolic summation of rho^k f(w_k) over k, then differentiated  |
| `schedule`: F, dF/d eta_k                 | the recursion with its own eta_k in each step, differentiated   |
| `stop_gradient`: F', G'                   | the recursion for d w_k/d eta with H w_k frozen, concrete t     |
| `two_eigenvalue_minimiser`                | the balance of two modes solved for eta                         |
| `identities`                              | the formulas printed in the docstrings, minus the derived ones  |

`numeric` turns any of them into a function for high-precision numbers. sympy is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from metagrad.theory.numbers.checks import bad_value
from metagrad.theory.quadratic.spectrum import Measure

Expression = Any
Formulas = dict[str, Expression]


@cache
def symbols(d: int) -> dict[str, Any]:
    """Return the symbols eta (real), t (positive integer), rho, and d each of lambda_i, c_i (positive)."""
    import sympy as sp

    if d < 1:
        bad_value("symbols", "d", d, "an integer of at least 1")
    return {
        "eta": sp.Symbol("eta", real=True),
        "t": sp.Symbol("t", integer=True, positive=True),
        "rho": sp.Symbol("rho", positive=True),
        "eigenvalues": sp.symbols(f"lambda1:{d + 1}", positive=True),
        "weights": sp.symbols(f"c1:{d + 1}", positive=True),
    }


@cache
def iterate() -> Expression:
    """Return w_t/w_0 of one mode, by solving w(k+1) = (1 - eta lambda) w(k), w(0) = 1; lambda is lambda1.

    >>> iterate()
    (-eta*lambda1 + 1)**t
    """
    import sympy as sp

    s, k, w = symbols(1), sp.Symbol("k", integer=True), sp.Function("w")
    factor = 1 - s["eta"] * s["eigenvalues"][0]
    return sp.rsolve(w(k + 1) - factor * w(k), w(k), {w(0): 1}).subs(k, s["t"])


@cache
def last_iterate(d: int, measure: Measure = "loss") -> Formulas:
    """Return F, dF, d2F, G, dG, d2G for d modes as expressions in the `symbols` of d."""
    import sympy as sp

    eta, t = symbols(d)["eta"], symbols(d)["t"]
    F = _measured(d, measure, lambda i: _mode(d, i) ** 2)
    G = sp.log(F) / t
    formulas = {"F": F, "dF": sp.diff(F, eta), "d2F": sp.diff(F, eta, 2)}
    return formulas | {"G": G, "dG": sp.diff(G, eta), "d2G": sp.diff(G, eta, 2)}


@cache
def weighted(d: int, measure: Measure = "loss") -> Formulas:
    """Return Phi and dPhi, by summing (rho a_i^2)^k over k = 1..t; valid where no rho a_i^2 is 1."""
    import sympy as sp

    s, k, r = symbols(d), sp.Symbol("k", integer=True, positive=True), sp.Symbol("r")
    geometric = sp.piecewise_fold(sp.summation(r**k, (k, 1, s["t"])))
    generic = next(value for value, condition in geometric.args if condition == sp.true)
    Phi = _measured(d, measure, lambda i: generic.subs(r, s["rho"] * _factor(d, i) ** 2))
    return {"Phi": Phi, "dPhi": sp.diff(Phi, s["eta"])}


@cache
def schedule(d: int, steps: int, measure: Measure = "loss") -> Formulas:
    """Return F and dF1, .., dF{steps} for step sizes eta1, .., from the recursion with concrete `steps`."""
    import sympy as sp

    etas = sp.symbols(f"eta1:{steps + 1}", real=True)
    eigenvalues = symbols(d)["eigenvalues"]

    def squared_state(i: int) -> Expression:
        w = sp.Integer(1)
        for eta in etas:
            w = w - eta * eigenvalues[i] * w
        return w**2

    F = _measured(d, measure, squared_state)
    return {"F": F} | {f"dF{k}": sp.diff(F, eta) for k, eta in enumerate(etas, start=1)}


@cache
def stop_gradient(d: int, steps: int, measure: Measure = "loss") -> Formulas:
    """Return dF and dG with H w_k held constant, from the recursion of w_k and of its derivative at concrete `steps`.

    w <- w - eta g and dw <- dw - g with g = lambda w, which dw does not see; then d(w^2) = 2 w dw.
    """
    import sympy as sp

    s = symbols(d)

    def squared_state(i: int) -> Expression:
        return _frozen(d, i, steps)[0] ** 2

    def slope(i: int) -> Expression:
        w, dw = _frozen(d, i, steps)
        return 2 * w * dw

    F, dF = _measured(d, measure, squared_state), _measured(d, measure, slope)
    return {"dF": dF, "dG": dF / (steps * F), "full": sp.diff(F, s["eta"])}


@cache
def two_eigenvalue_minimiser(measure: Measure = "loss") -> Expression:
    """Return eta* for alpha = lambda1 < L = lambda2, by solving for eta the (2t-1)-th root of the balance F' = 0.

    By `identities`, F' = 0 reads g_1 (1 - eta lambda1)^{2t-1} = g_2 (eta lambda2 - 1)^{2t-1} with g_i =
    kappa_i lambda_i; both bases are positive between 1/L and 1/alpha, so the root leaves a linear equation.
    """
    import sympy as sp

    s = symbols(2)
    eta, t, (alpha, L) = s["eta"], s["t"], s["eigenvalues"]
    rho = (_kappa(2, 1, measure) * L / (_kappa(2, 0, measure) * alpha)) ** (1 / (2 * t - 1))
    (root,) = sp.solve(sp.Eq(1 - eta * alpha, rho * (eta * L - 1)), eta)
    return sp.simplify(root)


def identities(d: int, measure: Measure = "loss") -> Formulas:
    """Return printed minus derived formulas, each of which sympy should reduce to zero (`is_zero`)."""
    s, derived = symbols(d), last_iterate(d, measure)
    t, eigenvalues = s["t"], s["eigenvalues"]
    a = [_factor(d, i) for i in range(d)]
    kappa = [_kappa(d, i, measure) for i in range(d)]
    F = sum(k * ai ** (2 * t) for k, ai in zip(kappa, a, strict=True))
    p = [k * ai ** (2 * t) / F for k, ai in zip(kappa, a, strict=True)]
    rates = [x / ai for x, ai in zip(eigenvalues, a, strict=True)]
    mean = sum(pi * si for pi, si in zip(p, rates, strict=True))
    square = sum(pi * si**2 for pi, si in zip(p, rates, strict=True))
    variance = sum(pi * (si - mean) ** 2 for pi, si in zip(p, rates, strict=True))
    terms = list(zip(kappa, eigenvalues, a, strict=True))
    return {
        "F": F - derived["F"],
        "dF": -2 * t * sum(k * x * ai ** (2 * t - 1) for k, x, ai in terms) - derived["dF"],
        "d2F": 2 * t * (2 * t - 1) * sum(k * x**2 * ai ** (2 * t - 2) for k, x, ai in terms) - derived["d2F"],
        "dG": -2 * mean - derived["dG"],
        "d2G": 4 * t * variance - 2 * square - derived["d2G"],
    }


def is_zero(expression: Expression) -> bool:
    """Return whether sympy reduces the expression to zero, the powers a_i^{2t} taken as independent symbols.

    a_i^{2t+m} = A_i a_i^m holds for every a_i != 0, and leaves a rational function, for which `cancel` decides.
    """
    import sympy as sp

    t = symbols(1)["t"]
    powers = [x for x in expression.atoms(sp.Pow) if x.exp.has(t)]
    replaced = {}
    for power in powers:
        rest = sp.simplify(power.exp - 2 * t)
        replaced[power] = sp.Symbol(f"A_{sp.srepr(sp.expand(power.base))}") * power.base**rest
    return bool(sp.cancel(sp.together(expression.xreplace(replaced))) == 0)


def numeric(expression: Expression, arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """Return the expression as a function of the symbols `arguments`, for mpmath numbers at their precision."""
    import sympy as sp

    function: Callable[..., Any] = sp.lambdify(arguments, expression, modules="mpmath")
    return function


def _factor(d: int, i: int) -> Expression:
    """Return a_i = 1 - eta lambda_i."""
    return 1 - symbols(d)["eta"] * symbols(d)["eigenvalues"][i]


def _mode(d: int, i: int) -> Expression:
    """Return w_t/w_0 of mode i: the solved recursion with lambda_i in it."""
    return iterate().subs(symbols(1)["eigenvalues"][0], symbols(d)["eigenvalues"][i])


def _kappa(d: int, i: int, measure: Measure) -> Expression:
    s = symbols(d)
    return s["weights"][i] * s["eigenvalues"][i] / 2 if measure == "loss" else s["weights"][i]


def _measured(d: int, measure: Measure, squared: Callable[[int], Expression]) -> Expression:
    """Return the measure of a state whose modes have the squares w_0i^2 squared(i), as c_i = w_0i^2."""
    return sum(_kappa(d, i, measure) * squared(i) for i in range(d))


def _frozen(d: int, i: int, steps: int) -> tuple[Expression, Expression]:
    import sympy as sp

    s = symbols(d)
    w, dw = sp.Integer(1), sp.Integer(0)
    for _ in range(steps):
        g = s["eigenvalues"][i] * w
        w, dw = w - s["eta"] * g, dw - g
    return w, dw
