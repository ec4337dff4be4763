r"""
Theory: the symbolic G', a property test of your own, a phase boundary
======================================================================

For gradient descent on quadratics and least squares everything has a closed form. This page is for those who prove
things: it takes one formula from sympy to a test, lets Hypothesis look for a counterexample to a conjecture (and find
one), and draws the line in the plane of samples and noise where tuning on validation data begins to win (Wang, Yuan,
Wu, Ge 2021, section 4).
"""

# %%
# The symbolic G'
# ---------------
# On :math:`f(w) = w'Hw/2` a mode with the eigenvalue :math:`\lambda_i` and the weight :math:`c_i = (q_i'w_0)^2` is
# multiplied by :math:`1 - \eta \lambda_i` a step. ``metagrad.theory.quadratic.symbolic`` derives the loss F after t
# steps, the log objective :math:`G = \log(F)/t` and their derivatives from that recursion alone, for symbolic t.

import matplotlib.pyplot as plt
import mpmath
import numpy as np
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

import metagrad as mg
from metagrad.testing import UnresolvedError, assert_meta_gradient_matches, meta_cases
from metagrad.theory.least_squares import tuned_limit
from metagrad.theory.quadratic import symbolic

seed = 0
slope = symbolic.last_iterate(2)["dG"]
print("F  =", symbolic.last_iterate(2)["F"])
print(
    "printed formulas minus derived ones:",
    {k: symbolic.is_zero(v) for k, v in symbolic.identities(2).items()},
)

# %%
# ``numeric`` makes a function of the expression, for numbers of any precision. The engine, which knows no formula and
# unrolls all steps in float64, agrees: where training converges, at the edge, and where the loss grows to
# :math:`10^{35218}`.

names = symbolic.symbols(2)
exact = symbolic.numeric(
    slope, (names["eta"], names["t"], *names["eigenvalues"], *names["weights"])
)
eigenvalues, start = np.array([0.3, 1.0]), np.array([1.0, -0.6])
task = mg.DiagonalQuadratic(eigenvalues, start)
print("  eta   steps  engine              50 digits, rounded  relative difference")
for eta, steps in ((0.5, 100), (1.5, 100), (1.9, 1000), (2.5, 100_000)):
    found = mg.meta_gradient(
        task, mg.GradientDescent(), mg.LogFinal(), eta, steps=steps
    ).grad.eta.to_float()
    with mpmath.workdps(50):
        right = exact(
            mpmath.mpf(eta),
            mpmath.mpf(steps),
            *map(mpmath.mpf, eigenvalues),
            *map(mpmath.mpf, start**2),
        )
        off = float(abs(found - right) / abs(right))
    print(f"{eta:5} {steps:7} {found:.15f}  {float(right):.15f}  {off:.0e}")
    assert off < 1e-11
last = mg.value(task, mg.GradientDescent(), mg.Final(), eta, steps=steps).value
print(f"the loss at the end of the last run: 10^{last.log10abs()[0]:.0f}")

# %%
# A property test of your own
# ---------------------------
# A statement that holds for all quadratics, step sizes and horizons is a property, and Hypothesis tries to break it.
# The one here: measure w in other units, so that H becomes s H, and divide the step size by s. The run is the same, so
# G' is multiplied by s. (Powers of two make that exact in floating point, but for the logarithm at the end.)


def log_slope(eigenvalues, eta, steps, **options):
    task = mg.DiagonalQuadratic(eigenvalues, np.ones(len(eigenvalues)))
    found = mg.meta_gradient(
        task, mg.GradientDescent(), mg.LogFinal(), eta, steps=steps, **options
    )
    assume(
        found.ok
    )  # where a step lands on the minimum exactly, log F is -inf: its Status says so
    return float(found.grad.eta)


spectra = st.lists(st.floats(0.1, 2.0), min_size=1, max_size=4).map(np.array)
etas, horizons = st.floats(0.05, 2.0), st.integers(1, 12)


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(spectra, etas, horizons, st.integers(-8, 8))
def scaling(eigenvalues, eta, steps, power):
    s = 2.0**power
    scaled, plain = (
        log_slope(s * eigenvalues, eta / s, steps),
        s * log_slope(eigenvalues, eta, steps),
    )
    assert abs(scaled - plain) <= 1e-9 * abs(plain)


scaling()
print("thirty quadratics, no counterexample")

# %%
# ``metagrad.testing`` has strategies of its own, and the property that matters most: the engine against an independent
# way to the same number, which is theory where there is one, and else differences of values. No tolerance is chosen: it
# comes from the digits that were measured. ``meta_cases`` draws all of it, a task, a rule with its meta-parameters, an
# objective and a horizon; write ``st.builds`` with your own task in its place. Where a case has too few digits to show
# anything, it is drawn again.

compared = []


@settings(max_examples=6, deadline=None, database=None, derandomize=True)
@given(meta_cases(most_steps=6))
def agrees(case):
    try:
        compared.append((type(case.task).__name__, assert_meta_gradient_matches(*case)))
    except UnresolvedError:
        reject()


agrees()
for task_name, match in compared[:4]:
    print(f"{task_name}: {match}")
print(
    f"{len(compared)} cases, no difference; the fewest digits of a comparison: {min(m.digits for _, m in compared):.1f}"
)

# %%
# A conjecture that is false
# --------------------------
# Much of the literature holds the optimizee's gradient constant when it differentiates. Surely that has the right sign
# at least? Hypothesis finds the smallest case where it has not: one parameter, two steps.


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(spectra, etas, horizons)
def same_sign(eigenvalues, eta, steps):
    full = log_slope(eigenvalues, eta, steps)
    held = log_slope(eigenvalues, eta, steps, gradient="stop_gradient")
    assert full * held >= 0, (
        f"eigenvalues {eigenvalues}, eta {eta}, steps {steps}: {full:.3g}, held {held:.3g}"
    )


try:
    same_sign()
except AssertionError as counterexample:
    print("false:", counterexample)
else:
    raise AssertionError("no counterexample was found")

# %%
# By hand it is seen at once: with :math:`\lambda = w_0 = 1` the iterate is :math:`(1 - \eta)^2`. Its derivative is
# :math:`-2 (1 - \eta)`, above zero for :math:`\eta > 1`; with the gradients held it is minus their sum,
# :math:`-1 - (1 - \eta) = \eta - 2`, below zero. The other way round would be no better: it is a derivative of
# nothing. :doc:`/concepts/full-or-stop-gradient` says more.
#
# The phase boundary
# ------------------
# Now least squares with noise: n samples, d inputs, :math:`y = X w^* + \sigma \xi`. *Train-by-train* tunes the step
# size of t steps on the training loss. *Train-by-validation* trains on one half and tunes on the other. For many
# inputs, :math:`d/n \to \gamma`, both risks are finite sums, and ``boundary`` finds where they are equal.

steps, ratios, sigmas = 30, np.geomspace(0.25, 16, 13), np.geomspace(0.25, 4, 9)
by_train = tuned_limit.risk_tbt(steps, ratio=ratios[:, None], sigma=sigmas)
by_validation = tuned_limit.risk_tbv(steps, ratio=ratios[:, None], sigma=sigmas)
at_two = tuned_limit.boundary(steps, sigma=2.0, span=(2.0, 20.0), points=6)[0]
print(
    f"at sigma = 2 both ways have the same risk at n/d = {at_two[0]:.2f}, near 2 sigma^2"
)
assert 7 < at_two[0] < 9

# %%
# And the same with the engine, at three points of the plane: tune on sampled tasks, by the zero of the mean
# meta-gradient, then measure the risk on fresh ones. Each row is decided by data alone.


def risks(ratio, sigma, d=30, count=30):
    """Return the mean risks of both ways on fresh tasks, each with the step size that it tuned."""
    rule, n = mg.GradientDescent(), int(2 * round(ratio * d / 2))
    tuning, fresh = (
        mg.random_least_squares(count, n, d, sigma=sigma, seed=1000 * seed + k)
        for k in (1, 2)
    )
    found = []
    for tune, test, measure in (
        (tuning, fresh, "train"),
        (mg.split_task(tuning), mg.split_task(fresh), "validation"),
    ):
        edge = 1 / np.mean(
            np.linalg.norm(tune.X, 2, axis=(1, 2)) ** 2 / tune.X.shape[1]
        )

        def slope(eta, tune=tune, measure=measure):
            return float(
                mg.meta_gradient(
                    tune, rule, mg.Final(measure), eta, steps=steps
                ).grad.eta
            )

        eta = brentq(slope, 1e-3 * edge, 1.9 * edge, xtol=1e-3 * edge)
        found.append(
            mg.value(test, rule, mg.Final("risk"), eta, steps=steps)
            .value.to_float()
            .mean()
        )
    return found


figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
shade = axes.pcolormesh(
    ratios,
    sigmas,
    np.log10(by_train / by_validation).T,
    cmap="PuOr_r",
    vmin=-1,
    vmax=1,
    shading="nearest",
)
figure.colorbar(
    shade, label="log10 of risk by train / risk by validation", extend="both"
)
axes.contour(
    ratios, sigmas, np.log10(by_train / by_validation).T, [0.0], colors="black"
)
print(" n/d  sigma  by train  by validation   theory for many inputs")
for ratio, sigma in ((0.5, 1.0), (1.0, 2.0), (8.0, 0.5)):
    train, validation = risks(ratio, sigma)
    limit = [
        f(steps, ratio=ratio, sigma=sigma)
        for f in (tuned_limit.risk_tbt, tuned_limit.risk_tbv)
    ]
    won = validation < train
    marker, label = (
        ("o", "sampled: validation wins") if won else ("s", "sampled: train wins")
    )
    axes.plot(
        ratio,
        sigma,
        marker,
        color="black",
        markerfacecolor="white",
        markersize=8,
        label=label,
    )
    print(
        f"{ratio:4} {sigma:6} {train:9.3f} {validation:14.3f}   {limit[0]:.3f} and {limit[1]:.3f}"
    )
    assert won == (limit[1] < limit[0])
white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
axes.text(0.3, 3.2, "validation wins", bbox=white)
axes.text(5.0, 0.3, "train wins", bbox=white)
axes.set(
    xscale="log",
    yscale="log",
    xlabel="samples per input n/d",
    ylabel=r"noise $\sigma$ (units of $\|w^*\|$)",
)
axes.set_xticks(
    [0.25, 0.5, 1, 2, 4, 8, 16], labels=["1/4", "1/2", "1", "2", "4", "8", "16"]
)
axes.set_yticks([0.25, 0.5, 1, 2, 4], labels=["1/4", "1/2", "1", "2", "4"])
axes.minorticks_off()
handles, labels = axes.get_legend_handles_labels()
once = dict(zip(labels, handles, strict=True))
figure.legend(
    once.values(),
    once.keys(),
    loc="outside upper left",
    ncols=2,
    frameon=False,
    fontsize=8,
)
plt.show()
