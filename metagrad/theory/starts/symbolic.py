"""The expansions of MAML, FOMAML and Reptile in the inner step size, derived by sympy for general smooth losses.

Step j goes along the gradient of L_j; all L_j are drawn from one distribution. With A = E grad L, B = E [H_i g_j]
(i != j), which is half the gradient of E <g_i, g_j>, at the start:

    MAML      A - 2 (k-1) alpha B + O(alpha^2)
    FOMAML    A -   (k-1) alpha B + O(alpha^2)
    Reptile   k A - k (k-1)/2 alpha B + O(alpha^2)

The last loss is the query loss, so that k counts k-1 steps and the query. All three descend along A, the gradient of
the mean loss, and climb along the inner product of gradients of different minibatches, at different rates: that is why
Reptile works (Nichol, Achiam and Schulman 2018, section 5). Here the derivation is made on losses with symbols for the
derivatives up to the third, in one dimension, where products commute, so that the second order is told as well.
sympy is imported when a function is called.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import Any

from metagrad.theory.numbers.checks import bad_value, check_choice, count
from metagrad.theory.starts.adaptation import METHODS

Expression = Any


@cache
def symbols(losses: int) -> dict[str, Any]:
    """Return alpha, x (a displacement), and the derivatives g, H, T of each loss at the start, as lists of symbols."""
    import sympy as sp

    names = {letter: [sp.Symbol(f"{letter}{j + 1}", real=True) for j in range(losses)] for letter in "gHT"}
    return names | {"alpha": sp.Symbol("alpha", positive=True), "x": sp.Symbol("x", real=True)}


def expansion(method: str, losses: int, *, order: int = 1) -> Expression:
    """Return the meta-gradient of a method for given minibatches, up to alpha^order; order 1 or 2.

    `losses`: k >= 2, the minibatches in the order in which they come; the last is the query of MAML and FOMAML.

    >>> expansion("maml", 2)
    alpha*(-H1*g2 - H2*g1) + g2
    """
    import sympy as sp

    check_choice("expansion", "method", method, METHODS)
    k, order = _counts("expansion", losses, order)
    at = symbols(k)
    alpha, x = at["alpha"], at["x"]
    slope = [at["g"][j] + at["H"][j] * x + at["T"][j] * x**2 / 2 for j in range(k)]  # of loss j at a displacement x
    place, way, transport = sp.Integer(0), sp.Integer(0), sp.Integer(1)
    for j in range(k):
        found = _cut(slope[j].subs(x, place), alpha, order)
        way += found
        if j < k - 1:
            curvature = _cut(sp.diff(slope[j], x).subs(x, place), alpha, order)
            transport = _cut(transport * (1 - alpha * curvature), alpha, order)
            place = _cut(place - alpha * found, alpha, order)
    whole = {"maml": _cut(transport * found, alpha, order), "fomaml": found, "reptile": _cut(way, alpha, order)}[method]
    return sp.collect(sp.expand(whole), alpha)


def averaged(method: str, losses: int) -> tuple[Expression, Expression]:
    """Return the coefficients of A and of alpha B in the mean over all orders of the minibatches.

    >>> [averaged(name, 3) for name in METHODS]
    [(1, -4), (1, -2), (3, -3)]
    """
    import sympy as sp

    k, _ = _counts("averaged", losses, 1)
    at = symbols(k)
    alpha, A = at["alpha"], sp.Symbol("A")
    whole = sp.expand(expansion(method, k))
    orders = list(permutations(range(k)))
    total = sum(whole.subs({at[x][j]: at[x][p[j]] for x in "gH" for j in range(k)}, simultaneous=True) for p in orders)
    mean = sp.expand(total / len(orders))
    first = mean.coeff(alpha, 0).subs(dict.fromkeys(at["g"], A))
    pairs = [(at["H"][i], at["g"][j]) for i in range(k) for j in range(k) if i != j]
    second = mean.coeff(alpha, 1)
    rates = {sp.expand(second).coeff(H).coeff(g) for H, g in pairs}
    if len(rates) != 1:
        bad_value("averaged", "method", repr(method), "a mean in which all pairs count alike")
    return sp.simplify(first.coeff(A)), sp.simplify(rates.pop() * len(pairs))


def _cut(expression: Expression, alpha: Expression, order: int) -> Expression:
    """Return a polynomial in alpha without its powers above `order`."""
    import sympy as sp

    whole = sp.expand(expression)
    return sum(whole.coeff(alpha, n) * alpha**n for n in range(order + 1))


def _counts(function: str, losses: int, order: int) -> tuple[int, int]:
    k, order = count(function, "losses", losses, 2), count(function, "order", order)
    if k > 6:
        bad_value(function, "losses", k, "at most 6 minibatches, whose orders are all taken")
    if order > 2:
        bad_value(function, "order", order, "1 or 2", "Losses are known to their third derivative here.")
    return k, order
