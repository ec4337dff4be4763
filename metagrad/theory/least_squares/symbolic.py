"""The closed forms of least squares, derived by sympy: given (X, y), averaged over the targets, and for d/n -> gamma.

| step                                           | how                                                          |
|------------------------------------------------|--------------------------------------------------------------|
| `descend`: w_t; T, V, R and slopes             | the recursion for symbols X, y, n, d and t concrete          |
| `spectral_filter`: h_t, dh_t/deta              | w_{k+1} along one eigenvalue, by `rsolve` for symbolic t     |
| `averages`: E T, E R                           | that, y = Xw* + xi; half the trace of the Hessian in w*, xi  |
| `moment`: int s^k dMP(s)                       | integral of the density over the angle theta                 |
| `limit_curves`: R, T and slopes                | polynomials in s averaged by these moments                   |
| `unfitted`: 1 - gamma sum_j w_j/s_j and other  | the quadrature rule itself, for concrete N                   |
| `interpolation`: eta, R and T for t -> inf     | the edges balanced; residues of the law on the unit circle   |
| `large_noise_risks`, `large_noise_boundary`    | the spectrum shrunk to s = 1 + O(sqrt gamma), by series      |
| `identities`                                   | the formulas printed in the docstrings, minus the derived    |

The boundary for large sigma is new here. Half split, run on that half, r = n/d = 2 sigma^2 + c + o(1): then
gamma_1 = 2/r is small, and to first order train-by-validation only shrinks, R_TbV = 1/(1 + r/(2 sigma^2)), while
train-by-train interpolates, R_TbT = sigma^2/(r - 1). Both are equal at r = 2 sigma^2. To second order

    r = 2 sigma^2 + 1 - (2t (2^{1/t} - 1) - 1)^2    for t >= 3,

which is 2 sigma^2 + 0.8508 for long horizons. sympy is imported when a function is called.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from metagrad.theory.numbers.checks import bad_value

Expression = Any
Formulas = dict[str, Expression]


@cache
def symbols() -> dict[str, Any]:
    """Return eta, s (an eigenvalue), t (a horizon), gamma, sigma, signal, and r = n/d."""
    import sympy as sp

    names = ("s", "gamma", "sigma", "signal", "r")
    found = {name: sp.Symbol(name, positive=True) for name in names}
    return found | {"eta": sp.Symbol("eta", real=True), "t": sp.Symbol("t", integer=True, positive=True)}


@cache
def sample(n: int, d: int, m: int = 1) -> dict[str, Any]:
    """Return matrices of symbols: X (n, d), y (n, 1), X_val (m, d), y_val (m, 1), w_star (d, 1), xi (n, 1)."""
    import sympy as sp

    if min(n, d, m) < 1:
        bad_value("sample", "n, d, m", (n, d, m), "integers of at least 1")
    shapes = {"X": (n, d), "y": (n, 1), "X_val": (m, d), "y_val": (m, 1), "w_star": (d, 1), "xi": (n, 1)}
    return {
        name: sp.Matrix(*shape, lambda i, j, name=name: sp.Symbol(f"{name}{i + 1}{j + 1}", real=True))
        for name, shape in shapes.items()
    }


@cache
def descend(n: int, d: int, steps: int) -> Formulas:
    """Return w_t (d, 1), T, V, R and dT, dV, dR from w_{k+1} = w_k - eta X'(X w_k - y)/n, w_0 = 0.

    >>> descend(1, 1, 1)["T"]
    (X11**2*eta*y11 - y11)**2/2
    """
    import sympy as sp

    eta, p = symbols()["eta"], sample(n, d)
    w = sp.zeros(d, 1)
    for _ in range(steps):
        w = w - eta * p["X"].T * (p["X"] * w - p["y"]) / n
    values = {
        "T": _square(p["X"] * w - p["y"]) / (2 * n),
        "V": _square(p["X_val"] * w - p["y_val"]) / (2 * p["y_val"].rows),
        "R": _square(w - p["w_star"]),
    }
    return {"w": w} | values | {f"d{name}": sp.diff(value, eta) for name, value in values.items()}


@cache
def spectral_filter() -> tuple[Expression, Expression]:
    """Return h_t(s) and dh_t/deta, by solving h_{k+1} = (1 - eta s) h_k + eta, h_0 = 0: w_t = h_t(H) X'y/n.

    >>> spectral_filter()[0]
    (1 - (-eta*s + 1)**t)/s
    """
    import sympy as sp

    p, k, h = symbols(), sp.Symbol("k", integer=True), sp.Function("h")
    step = h(k + 1) - (1 - p["eta"] * p["s"]) * h(k) - p["eta"]
    solved = sp.simplify(sp.rsolve(step, h(k), {h(0): 0}).subs(k, p["t"]))
    return solved, sp.powsimp(sp.diff(solved, p["eta"]))


@cache
def averages(n: int, d: int, steps: int) -> Formulas:
    """Return ET and ER, the means over xi ~ N(0, sigma^2 I) and isotropic w*, E||w*||^2 = signal, given the symbols X.

    T and R are quadratic in z = (w*, xi), centred and uncorrelated: E q(z) = q(0) + sum_i var_i (d^2 q/dz_i^2)/2.
    """
    import sympy as sp

    p, c, curves = sample(n, d), symbols(), descend(n, d, steps)
    targets = dict(zip(p["y"], p["X"] * p["w_star"] + p["xi"], strict=True))
    variances = dict.fromkeys(p["w_star"], c["signal"] / d) | dict.fromkeys(p["xi"], c["sigma"] ** 2)
    found = {}
    for name in ("T", "R"):
        loss = curves[name].subs(targets, simultaneous=True)
        mean = sum(variance * sp.diff(loss, z, 2) / 2 for z, variance in variances.items())
        found[f"E{name}"] = sp.factor(mean.subs(dict.fromkeys(variances, 0)))
    return found


@cache
def moment(k: int) -> Expression:
    """Return integral s^k dMP(s), a polynomial in gamma.

    s dMP(s) = (2/pi) sin^2(theta) dtheta, with s = 1 + gamma + 2 sqrt(gamma) cos(theta) and theta from 0 to pi.

    >>> moment(3)
    gamma**2 + 3*gamma + 1
    """
    import sympy as sp

    if k < 0:
        bad_value("moment", "k", k, "an integer of at least 0")
    gamma, c, total = symbols()["gamma"], sp.Symbol("c"), sp.Integer(0)
    if k == 0:
        return sp.Integer(1)
    for (p,), coefficient in sp.Poly((1 + gamma + 2 * sp.sqrt(gamma) * c) ** (k - 1), c).terms():
        if p % 2 == 0:  # (2/pi) int cos^p sin^2 = 2 binom(p, p/2)/(2^p (p + 2)); odd powers average to zero
            total += coefficient * 2 * sp.binomial(p, p // 2) / sp.Integer(2) ** p / (p + 2)
    return sp.expand(total)


@cache
def limit_curves(steps: int) -> Formulas:
    """Return R, T, dR, dT for d/n -> gamma, exact polynomials in eta, gamma, sigma and signal.

    >>> limit_curves(1)["dR"]
    2*eta*gamma*sigma**2 + 2*eta*gamma*signal + 2*eta*signal - 2*signal
    """
    import sympy as sp

    p = symbols()
    eta, s, gamma, variance = p["eta"], p["s"], p["gamma"], p["sigma"] ** 2
    kept = (1 - eta * s) ** (2 * steps)
    learned = sp.cancel((1 - (1 - eta * s) ** steps) / s)
    R = p["signal"] * kept + variance * gamma * s * learned**2
    T = (p["signal"] * s * kept + variance * (1 - gamma) + variance * gamma * kept) / 2
    found = {name: sp.expand(_mean(integrand)) for name, integrand in (("R", R), ("T", T))}
    return found | {f"d{name}": sp.diff(curve, eta) for name, curve in found.items()}


@cache
def unfitted(size: int) -> tuple[Expression, Expression]:
    """Return 1 - gamma sum_j w_j/s_j and 1 - sum_j w_j/s_j of the rule with N = `size` nodes.

    >>> unfitted(1)
    (1/(gamma + 1), gamma/(gamma + 1))
    """
    import sympy as sp

    gamma, total = symbols()["gamma"], sp.Integer(0)
    for j in range(1, size + 1):
        theta = sp.pi * j / (size + 1)
        node = 1 + gamma + 2 * sp.sqrt(gamma) * sp.cos(theta)
        total += 2 * sp.sin(theta) ** 2 / (size + 1) / node
    return tuple(sp.factor(sp.radsimp(sp.simplify(1 - part))) for part in (gamma * total, total))


@cache
def interpolation(*, many_inputs: bool) -> Formulas:
    """Return what t -> infinity leads to, for gamma < 1, or above 1 with `many_inputs`: eta, R and T.

    eta: |1 - eta s_-| = |1 - eta s_+|. There a_j^t -> 0 and h_t -> 1/s: what remains is the atom, the targets that no
    w fits, and sigma^2 gamma int dMP/s over s > 0.
    """
    import sympy as sp

    p = symbols()
    root, eta = sp.sqrt(p["gamma"]), p["eta"]
    (balanced,) = sp.solve(sp.Eq(1 - eta * (1 - root) ** 2, eta * (1 + root) ** 2 - 1), eta)
    inverse, mass = (_inverse_moment(power, many_inputs) for power in (2, 1))  # int of dMP/s and of dMP over s > 0
    risk = p["signal"] * (1 - mass) + p["sigma"] ** 2 * p["gamma"] * inverse
    train = p["sigma"] ** 2 * (1 - p["gamma"] * mass) / 2
    return {"eta": sp.simplify(balanced), "R": sp.simplify(risk), "T": sp.simplify(train)}


@cache
def large_noise_risks() -> tuple[Expression, Expression]:
    """Return R_TbT and R_TbV as functions of r = n/d and sigma, signal 1, for large sigma and r of the order sigma^2.

    Half split, run on that half. R_TbT: the interpolating risk. R_TbV: all eigenvalues are 1 + O(sqrt gamma_1), so
    only h = h_t(1) is left to choose, min_h (1 - h)^2 + sigma^2 gamma_1 h^2. Against `tuned_limit` at t = 200, R_TbV is
    below by 6.5 per cent at sigma = 2, 1.1 at sigma = 5 and 0.07 at sigma = 20, on the boundary; by less off it.
    """
    import sympy as sp

    p, h = symbols(), sp.Symbol("h", real=True)
    r, variance = p["r"], p["sigma"] ** 2
    tbt = interpolation(many_inputs=False)["R"].subs(p["gamma"], 1 / r)
    shrunk = (1 - h) ** 2 + variance * 2 / r * h**2
    (best,) = sp.solve(sp.diff(shrunk, h), h)
    return sp.simplify(tbt), sp.simplify(shrunk.subs(h, best))


@cache
def large_noise_boundary() -> tuple[Expression, Expression]:
    """Return the leading term 2 sigma^2 of the boundary, and its next one, a function of t >= 3.

    With x = sigma^2 gamma_1 and s = 1 + sqrt(gamma_1) z, z of mean 0 and variance 1 to this order,
    R_TbV = min_eta E (1 - s h)^2 + x E s h^2 up to gamma_1, where eta enters through h = h_t(1) and h_t'(1) alone:
    the second derivative of the integrand in s, times gamma_1/2. h_t''(1) drops out, as it is multiplied by the
    derivative in h of the leading term, zero at its minimum.
    """
    import sympy as sp

    p, (tbt, tbv) = symbols(), large_noise_risks()
    r, sigma, t, s, eta = (p[name] for name in ("r", "sigma", "t", "s", "eta"))
    (leading,) = (x for x in sp.solve(sp.Eq(sigma**2 / r, tbv), r) if x != 0)
    # at the boundary x = 1 to leading order: h = 1/2, hence (1 - eta)^t = 1/2
    value, slope, curvature = sp.symbols("h h1 h2", real=True)
    bent = value + slope * (s - 1) + curvature * (s - 1) ** 2 / 2
    integrand = (1 - s * bent) ** 2 + s * bent**2
    spread = sp.expand(sp.diff(integrand, s, 2).subs({s: 1, value: sp.Rational(1, 2)})) / 2
    chosen = 1 - 2 ** (-1 / t)
    tilt = sp.diff(spectral_filter()[0], s).subs({s: 1, eta: chosen})
    epsilon, c = sp.Symbol("epsilon", positive=True), sp.Symbol("c", real=True)  # epsilon = 1/sigma^2
    ratio = leading.subs(sigma, 1 / sp.sqrt(epsilon)) + c
    gap = tbt - tbv - 2 / r * spread.subs(slope, tilt)
    first = sp.diff(sp.together(gap.subs(sigma, 1 / sp.sqrt(epsilon)).subs(r, ratio)), epsilon).subs(epsilon, 0)
    (correction,) = sp.solve(sp.simplify(first), c)
    return leading, sp.simplify(correction)


def identities(size: int) -> Formulas:
    """Return printed minus derived formulas, `size` the horizon, power or number of nodes; each simplifies to zero."""
    import sympy as sp

    p = symbols()
    eta, s, t, gamma, sigma, signal = (p[name] for name in ("eta", "s", "t", "gamma", "sigma", "signal"))
    h, dh = spectral_filter()
    found = {"h_t": (1 - (1 - eta * s) ** t) / s - h, "dh_t": t * (1 - eta * s) ** (t - 1) - dh}
    found["h_t, geometric sum"] = sp.cancel(h.subs(t, size) - eta * sum((1 - eta * s) ** k for k in range(size)))
    narayana = [sp.binomial(size, k) * sp.binomial(size - 1, k) / (k + 1) * gamma**k for k in range(size)]
    found["moment"] = sp.Add(*narayana) - moment(size)
    m = sum(gamma**k for k in range(size + 1))
    for name, printed, derived in zip(("targets", "weights"), (1 / m, gamma**size / m), unfitted(size), strict=True):
        found[f"unfitted {name}"] = printed - derived
    few, many = interpolation(many_inputs=False), interpolation(many_inputs=True)
    found["eta, t -> inf"] = 1 / (1 + gamma) - few["eta"]
    found["R, gamma < 1"] = sigma**2 * gamma / (1 - gamma) - few["R"]
    found["R, gamma > 1"] = signal * (1 - 1 / gamma) + sigma**2 / (gamma - 1) - many["R"]
    found["T, gamma < 1"], found["T, gamma > 1"] = sigma**2 * (1 - gamma) / 2 - few["T"], many["T"]
    return found | _identities_given_inputs(size)


def _identities_given_inputs(steps: int) -> Formulas:
    """Return the averages given X for one eigenvalue s: one sample of two inputs, two samples of one input."""
    import sympy as sp

    p = symbols()
    found = {}
    for n, d in ((1, 2), (2, 1)):
        at = {p["s"]: _square(sample(n, d)["X"]) / n, p["t"]: steps}
        left, h, noise = (1 - p["eta"] * p["s"]) ** (2 * steps), spectral_filter()[0], p["sigma"] ** 2
        risk = p["signal"] * (left + d - 1) / d + noise / n * p["s"] * h**2
        train = ((p["signal"] * p["s"] / d + noise / n) * left + noise * (1 - sp.Rational(1, n))) / 2
        derived = averages(n, d, steps)
        for name, formula in (("ER", risk), ("ET", train)):
            found[f"{name}, n = {n}"] = formula.subs(at) - derived[name]
    return found


def _square(vector: Any) -> Expression:
    return sum(x**2 for x in vector)


def _mean(polynomial: Expression) -> Expression:
    """Return the integral over the Marchenko-Pastur law of a polynomial in s."""
    import sympy as sp

    terms = sp.Poly(sp.expand(polynomial), symbols()["s"]).terms()
    return sum(coefficient * moment(power) for (power,), coefficient in terms)


def _inverse_moment(power: int, many_inputs: bool) -> Expression:
    """Return the integral of s^{-power} s dMP(s) = (1/pi) int_0^{2 pi} sin^2(theta) s^{-power} dtheta by residues.

    With z = exp(i theta) and q = sqrt gamma, s = (1 + q z)(1 + q/z), sin^2(theta) = -(z - 1/z)^2/4.
    """
    import sympy as sp

    q, z = sp.Symbol("q", positive=True), sp.Symbol("z")
    integrand = sp.cancel(-((z - 1 / z) ** 2) / 4 / ((1 + q * z) * (1 + q / z)) ** power / z)
    inside = (0, -1 / q) if many_inputs else (0, -q)
    mean = sum(sp.residue(integrand, z, pole) for pole in inside)
    return sp.factor(sp.simplify(2 * mean)).subs(q, sp.sqrt(symbols()["gamma"]))
