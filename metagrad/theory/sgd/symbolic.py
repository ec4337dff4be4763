"""The recursions of `sgd`, `single_pass` and `noisy_quadratic`, derived by sympy from one step of w.

| step                                       | how                                                              |
|--------------------------------------------|------------------------------------------------------------------|
| `fourth_moment`: E[x x'S x x']             | monomials of Gaussian coordinates replaced by their moments      |
| `single_pass_step`: s_i+                   | the square of e - eta ghat over b fresh samples, likewise        |
| `isotropic_factor`: q                      | that step summed over i with lambda_i = 1                        |
| `batch_second_moment`: E[ghat ghat']       | all batches of n sample gradients, with or without replacement   |
| `enumerated_loss`: E f(w_t), n samples     | all sequences of one sample a step, d = 1                        |
| `noisy_step`, `greedy_step`                | the square of w - eta h (w - c); dF/d eta = 0 solved             |
| `best_inverse_moment`: 1/A_k               | the greedy recursion in one dimension, solved by `rsolve`        |
| `identities`                               | the formulas printed in the docstrings, minus the derived ones   |

sympy is imported when a function is called.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, product
from typing import Any

from metagrad.theory.numbers.checks import bad_value

Expression = Any
Formulas = dict[str, Expression]


@cache
def symbols(d: int) -> dict[str, Any]:
    """Return eta (real), sigma, k, and d each of lambda_i, h_i, v_i (target variances), A_i, and S_ij (symmetric)."""
    import sympy as sp

    if d < 1:
        bad_value("symbols", "d", d, "an integer of at least 1")
    return {
        "eta": sp.Symbol("eta", real=True),
        "sigma": sp.Symbol("sigma", nonnegative=True),
        "k": sp.Symbol("k", integer=True, nonnegative=True),
        "eigenvalues": sp.symbols(f"lambda1:{d + 1}", positive=True),
        "curvatures": sp.symbols(f"h1:{d + 1}", positive=True),
        "noise": sp.symbols(f"v1:{d + 1}", positive=True),
        "moments": sp.symbols(f"A1:{d + 1}", positive=True),
        "S": sp.Matrix(d, d, lambda i, j: sp.Symbol(f"S{min(i, j) + 1}{max(i, j) + 1}", real=True)),
    }


def gaussian_mean(expression: Expression, variances: dict[Any, Any]) -> Expression:
    """Return the expectation over independent centred Gaussians: E x^(2m) = (2m - 1)!! variance^m."""
    import sympy as sp

    variables = list(variances)
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(expression), *variables).terms():
        if all(p % 2 == 0 for p in powers):
            pairs = zip(variables, powers, strict=True)
            total += coefficient * sp.prod([sp.factorial2(p - 1) * variances[x] ** (p // 2) for x, p in pairs])
    return sp.expand(total)


@cache
def fourth_moment(d: int) -> Expression:
    """Return the matrix E[x x'S x x'] for x ~ N(0, diag lambda).

    >>> fourth_moment(1)
    Matrix([[3*S11*lambda1**2]])
    """
    import sympy as sp

    s, x = symbols(d), sp.Matrix(sp.symbols(f"x1:{d + 1}", real=True))
    inner = (x.T * s["S"] * x)[0]
    variances = dict(zip(x, s["eigenvalues"], strict=True))
    return (x * inner * x.T).applyfunc(lambda entry: gaussian_mean(entry, variances))


@cache
def single_pass_step(d: int, b: int) -> list[Expression]:
    """Return s_i+ = E (e_i - eta ghat_i)^2 (d expressions) in s_i = S_ii, for batches of b fresh samples."""
    import sympy as sp

    s = symbols(d)
    x = sp.Matrix(b, d, lambda i, j: sp.Symbol(f"x{i}_{j}", real=True))
    noise, e = sp.Matrix(sp.symbols(f"z0:{b}", real=True)), sp.Matrix(sp.symbols(f"e1:{d + 1}", real=True))
    gradient = x.T * (x * e - s["sigma"] * noise) / b
    variances = {x[i, j]: s["eigenvalues"][j] for i in range(b) for j in range(d)} | dict.fromkeys(noise, 1)
    steps = []
    for i in range(d):
        square = gaussian_mean((e[i] - s["eta"] * gradient[i]) ** 2, variances)
        steps.append(_second_moments(square, list(e), s["S"]))
    return steps


@cache
def isotropic_factor(d: int, b: int) -> Expression:
    """Return q, the factor of sum_i s_i in one step with lambda_i = 1."""
    import sympy as sp

    s = symbols(d)
    risk = sp.Add(*single_pass_step(d, b)).subs(dict.fromkeys(s["eigenvalues"], 1))
    (q,) = {sp.expand(risk).coeff(s["S"][i, i]) for i in range(d)}  # every coordinate has the same
    return q


@cache
def batch_second_moment(n: int, b: int, replacement: bool) -> tuple[Expression, Expression, Expression]:
    """Return E[ghat_1 ghat_2], and what C and B are made of: the mean of g_i1 g_i2, and the product of the means.

    g_i1, g_i2 are two coordinates of the gradient of sample i, ghat their mean over a batch.
    """
    import sympy as sp

    one, two = sp.symbols(f"g1_1:{n + 1}", real=True), sp.symbols(f"g2_1:{n + 1}", real=True)
    batches = list(product(range(n), repeat=b) if replacement else combinations(range(n), b))
    total = sum(sum(one[i] for i in batch) * sum(two[i] for i in batch) for batch in batches)
    within = sum(u * v for u, v in zip(one, two, strict=True)) / sp.Integer(n)
    return sp.expand(total / sp.Integer(b**2 * len(batches))), within, sum(one) * sum(two) / sp.Integer(n**2)


@cache
def enumerated_loss(n: int, steps: int) -> Expression:
    """Return E f(w_t) over all n^t sequences of single samples, for symbols x_i, y_i, w, eta; d = 1.

    >>> enumerated_loss(1, 1)
    (x1*(-eta*x1*(w*x1 - y1) + w) - y1)**2/2
    """
    import sympy as sp

    eta, start = symbols(1)["eta"], sp.Symbol("w", real=True)
    x, y = sp.symbols(f"x1:{n + 1}", real=True), sp.symbols(f"y1:{n + 1}", real=True)
    total = sp.Integer(0)
    for sequence in product(range(n), repeat=steps):
        w = start
        for i in sequence:
            w = w - eta * x[i] * (x[i] * w - y[i])
        total += sum((u * w - v) ** 2 for u, v in zip(x, y, strict=True)) / (2 * n)
    return total / n**steps


@cache
def noisy_step() -> Expression:
    """Return A+ = E (w - eta h (w - c))^2 of one coordinate of the noisy quadratic model."""
    import sympy as sp

    s, w, c = symbols(1), sp.Symbol("w", real=True), sp.Symbol("c", real=True)
    moved = w - s["eta"] * s["curvatures"][0] * (w - c)
    return gaussian_mean(moved**2, {w: s["moments"][0], c: s["noise"][0]})  # only second moments occur


@cache
def greedy_step(d: int) -> Expression:
    """Return the eta that minimises sum_i h_i A_i+/2, by solving dF/d eta = 0."""
    import sympy as sp

    one, s = symbols(1), symbols(d)
    names = ("curvatures", "noise", "moments")
    loss = sum(
        s["curvatures"][i] / 2 * noisy_step().subs({one[name][0]: s[name][i] for name in names}, simultaneous=True)
        for i in range(d)
    )
    (eta,) = sp.solve(sp.diff(loss, s["eta"]), s["eta"])
    return eta


@cache
def best_inverse_moment() -> Expression:
    """Return 1/A_k after k greedy steps in one dimension, by solving the recursion of the inverse."""
    import sympy as sp

    s, inverse = symbols(1), sp.Function("u")
    A, k = s["moments"][0], s["k"]
    after = sp.simplify(noisy_step().subs(s["eta"], greedy_step(1)))
    rise = sp.simplify(1 / after - 1 / A)
    return sp.rsolve(inverse(k + 1) - inverse(k) - rise, inverse(k), {inverse(0): 1 / A})


def identities(d: int, b: int) -> Formulas:
    """Return printed minus derived formulas, each of which sympy should `expand` or `simplify` to zero."""
    import sympy as sp

    s = symbols(d)
    eta, lam, h, v, A = (s[name] for name in ("eta", "eigenvalues", "curvatures", "noise", "moments"))
    H, S = sp.diag(*lam), s["S"]
    difference = 2 * H * S * H + (H * S).trace() * H - fourth_moment(d)
    found = {f"E[x x'Sx x']_{i}{j}": difference[i, j] for i in range(d) for j in range(d)}
    total = sum(x * S[i, i] for i, x in enumerate(lam)) + s["sigma"] ** 2
    for i, x in enumerate(lam):
        kept = 1 - 2 * eta * x + eta**2 * (1 + sp.Rational(1, b)) * x**2
        found[f"s_{i + 1}"] = kept * S[i, i] + eta**2 * x / b * total - single_pass_step(d, b)[i]
    found["q"] = 1 - 2 * eta + eta**2 * sp.Rational(b + 1 + d, b) - isotropic_factor(d, b)
    found["greedy"] = sum(x**2 * a for x, a in zip(h, A, strict=True)) / sum(
        x**3 * (a + u) for x, a, u in zip(h, A, v, strict=True)
    ) - greedy_step(d)
    found["A+"] = ((1 - eta * h[0]) ** 2 * A[0] + eta**2 * h[0] ** 2 * v[0]) - noisy_step()
    found["1/A_k"] = 1 / A[0] + s["k"] / v[0] - best_inverse_moment()
    for replacement in (True, False):
        for n in range(max(2, b), b + 3):
            spread = sp.Rational(1, b) if replacement else sp.Rational(n - b, b * (n - 1))
            second, within, squared = batch_second_moment(n, b, replacement)
            found[f"c_b, n = {n}, {replacement}"] = spread * within + (1 - spread) * squared - second
    return found


def _second_moments(expression: Expression, e: list[Any], S: Any) -> Expression:
    """Replace e_i e_j by S_ij in a form that is quadratic in e."""
    import sympy as sp

    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(expression, *e).terms():
        indices = [i for i, power in enumerate(powers) for _ in range(power)]
        total += coefficient * (S[indices[0], indices[1]] if indices else 1)
    return sp.expand(total)
