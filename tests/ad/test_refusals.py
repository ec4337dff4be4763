# ruff: noqa: PLW0108, UP031  # a lambda is the user's line of code, which the message shows
"""What would lose the derivative is refused: the message names the function that was called, the line and a remedy."""

import functools
import math
import random
import re
import statistics
from operator import attrgetter

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.spatial
import scipy.stats

from metagrad import ad
from metagrad.ad import remedies, taught
from metagrad.ad.refusals import public_name
from metagrad.ad.table import CONSTANT, FUNCTIONS, load_late

load_late()  # the families that import SciPy
A = np.array([[2.0, 0.5, 0.1], [0.3, 1.5, 0.2], [0.1, 0.4, 1.8]])
T = np.arange(3.0)
Z = np.zeros(3)
STREAM = np.random.default_rng(0)
X = np.array([1.1, 0.6, 0.3])


def written(x):
    z = np.zeros(3)
    z[1:] = x[1:]
    return z


def entry_written(x):
    z = np.zeros(3)
    z[0] = x[0]
    return z


def number_written(x):
    z = np.zeros(3)
    z[0] = np.sum(x)
    return z


def deleted(x):
    del x[0]


def read_with(x):
    return T[x[0]]


CALLS = {  # name: (call, what names it, what says what to write)
    "np.asarray": (np.asarray, r"numpy\.asarray\(x\)", "Leave x as it is"),
    "np.array": (lambda x: np.array([x[0], x[1]]), r"numpy\.array\(x\).*np.array\(\[x\[0\], x\[1\]\]\)", r"np\.stack"),
    "np.array of arrays": (lambda x: np.array([x, x]), r"numpy\.array", r"np\.stack"),
    "list in np.sum": (lambda x: np.sum([x[0], x[1]]), r"numpy\.sum", r"np\.stack"),
    "list in np.mean": (lambda x: np.mean([x, x]), r"numpy\.mean", r"np\.stack"),
    "list in np.diag": (lambda x: np.diag([x[0], x[1]]), r"numpy\.diag", r"np\.stack"),
    "list in a product": (lambda x: A @ [x[0], x[1], x[2]], r"A @ \[x\[0\]", r"np\.stack"),
    "np.float64": (lambda x: np.float64(x[0]), r"numpy\.float64", "Leave x as it is"),
    "np.float32": (lambda x: np.float32(x[0]), r"numpy\.float32", r"x\.astype\(np\.float32\)"),
    "np.int64": (lambda x: np.int64(x[0]), r"numpy\.int64", "piecewise constant"),
    "np.full": (lambda x: np.full(3, x[0]), r"numpy\.full", r"x \* np\.ones"),
    "np.arange": (lambda x: np.arange(x[0]), r"numpy\.arange", r"x \* np\.arange\(n\)"),
    "np.fromiter": (lambda x: np.fromiter(x, float), r"numpy\.fromiter", r"np\.stack"),
    "np.ma.array": (lambda x: np.ma.array(x), r"numpy\.ma\.array", r"m\.filled\(0\.0\)"),
    "np.polynomial": (lambda x: np.polynomial.Polynomial(x), r"numpy\.polynomial", "np.sum"),
    "np.fill_diagonal": (lambda x: np.fill_diagonal(A.copy(), x), r"numpy\.fill_diagonal", r"np\.where\(np\.eye"),
    "np.copyto": (lambda x: np.copyto(np.zeros(3), x), r"numpy\.copyto", r"np\.where"),
    "np.put": (lambda x: np.put(np.zeros(3), [0], x), r"numpy\.put", r"np\.where"),
    "np.save": (lambda x: np.save("none.npy", x), r"numpy\.save cannot be traced", r"stop_gradient\(x\)"),
    "np.savez": (lambda x: np.savez("none.npz", x=x), r"numpy\.savez", r"stop_gradient\(x\)"),
    "np.savetxt": (lambda x: np.savetxt("none.txt", x), r"numpy\.savetxt", r"stop_gradient\(x\)"),
    "np.testing": (lambda x: np.testing.assert_allclose(Z, x), r"numpy\.testing\.assert_allclose", "stop_gradient"),
    "z.dot": (lambda x: Z.dot(x), r"numpy\.ndarray\.dot", r"np\.dot\(z, x\)"),
    "z.fill": (lambda x: Z.fill(x[0]), r"numpy\.ndarray\.fill", r"np\.where"),
    "z[1:] = x": (written, r"z\[1:\] = x is.*line \d+ of test_refusals.py: z\[1:\] = x\[1:\]", r"np\.concatenate"),
    "z[0] = x[0]": (entry_written, r"z\[0\] = x is.*test_refusals.py: z\[0\] = x\[0\]", r"np\.stack"),
    "z[0] = number": (number_written, r"z\[0\] = x is.*z\[0\] = np\.sum\(x\)", r"np\.stack"),
    "T[x]": (read_with, r"T\[x\[0\]\] is not", "plain integers"),
    "rng.normal": (
        lambda x: STREAM.normal(x),
        r"numpy\.random\.Generator\.normal",
        r"loc \+ scale \* rng",
    ),
    "default_rng": (lambda x: np.random.default_rng(0).normal(x), r"numpy\.random\.default_rng\.normal", "loc"),
    "rng.choice": (lambda x: STREAM.choice(3, p=x), r"numpy\.random\.Generator\.choice", "stop_gradient.* to choice"),
    "float": (float, r"float\(x\)", r"np\.exp\(x\) for math\.exp\(x\)"),
    "float of an entry": (
        lambda x: float(x[0]),
        r"float\(x\) is .*: float\(x\[0\]\)|float\(x\) is",
        "Leave it as it is",
    ),
    "int": (lambda x: int(x[0]), r"int\(x\)", "piecewise constant"),
    "complex": (lambda x: complex(x[0]), r"complex\(x\)", "real and imaginary part apart"),
    "round": (lambda x: round(x[0]), r"round\(x\)", r"np\.round"),
    "round to digits": (lambda x: round(x[0], 2), r"round\(x\)", r"print f|Print f"),
    "range": (lambda x: range(x[0]), r"range\(x\)", "piecewise constant"),
    "bool": (lambda x: 1 if x[0] else 0, r"bool\(x\), or `if x`", "x > 0"),
    "not": (lambda x: not x, r"bool\(x\)", "Compare it"),
    "hash": (lambda x: {x: 1}, r"hash\(x\)", "as the value"),
    "set": (lambda x: {x[0]}, r"hash\(x\)", "as the value"),
    "percent": (lambda x: "%.3f" % x[0], r"'?%\.3f'?", r"f'\{x:.3f\}'"),
    "math.exp": (lambda x: math.exp(x[0]), r"math\.exp", r"np\.exp\(x\)"),
    "math.sqrt": (lambda x: math.sqrt(x[0]), r"math\.sqrt", "same name"),
    "math.pow": (lambda x: math.pow(x[0], 2), r"math\.pow", r"x\*\*y"),
    "math.lgamma": (lambda x: math.lgamma(x[0]), r"math\.lgamma", "gammaln"),
    "math.fsum": (lambda x: math.fsum(x), r"math\.fsum", r"np\.sum"),
    "math.floor": (lambda x: math.floor(x[0]), r"math\.floor", r"np\.floor"),
    "math.ceil": (lambda x: math.ceil(x[0]), r"math\.ceil", r"np\.ceil"),
    "math.trunc": (lambda x: math.trunc(x[0]), r"math\.trunc", r"np\.trunc"),
    "random.expovariate": (lambda x: random.lognormvariate(x[0], x[1]), r"random\.lognormvariate", "standard numbers"),
    "statistics.mean": (lambda x: statistics.mean([x[0], x[1]]), r"statistics\.mean", r"np\.mean"),
    "x.sort": (lambda x: x.sort(), r"x\.sort\(\)", r"np\.sort"),
    "x.partition": (lambda x: x.partition(1), r"x\.partition\(k\)", r"np\.partition"),
    "x.fill": (lambda x: x.fill(0.0), r"x\.fill\(\)", r"np\.full_like"),
    "x.put": (lambda x: x.put(0, 1.0), r"x\.put\(\)", r"np\.where"),
    "x.resize": (lambda x: x.resize(2), r"x\.resize\(\)", r"np\.resize"),
    "x.setflags": (lambda x: x.setflags(write=False), r"x\.setflags\(\)", r"np\.where"),
    "x.view": (lambda x: x.view(np.int64), r"x\.view\(\)", r"x\.astype"),
    "x.byteswap": (lambda x: x.byteswap(), r"x\.byteswap\(\)", "stop_gradient"),
    "x.tobytes": (lambda x: x.tobytes(), r"x\.tobytes\(\)", "stop_gradient"),
    "x.tofile": (lambda x: x.tofile("none"), r"x\.tofile\(\)", "stop_gradient"),
    "x.dump": (lambda x: x.dump("none"), r"x\.dump\(\)", "stop_gradient"),
    "x.item": (lambda x: x[0].item(), r"x\.item\(\)", r"x\.reshape\(\(\)\)"),
    "x.tolist": (lambda x: x.tolist(), r"x\.tolist\(\)", r"list\(x\)"),
    "del": (deleted, r"del x\[index\]", r"np\.delete"),
    "nnls": (lambda x: scipy.optimize.nnls(A, x)[0], r"scipy\.optimize\.nnls", r"np\.linalg\.solve\(A\[:, s\]"),
    "minimize": (
        lambda x: scipy.optimize.minimize(lambda v: np.sum(v * x), Z).x,
        r"optimize\.minimize",
        "Newton steps",
    ),
    "root": (lambda x: scipy.optimize.root(lambda v: v, x).x, r"scipy\.optimize\.root\(x\)", "two Newton steps"),
    "curve_fit": (lambda x: scipy.optimize.curve_fit(lambda t, a: a * t, T, x), r"optimize\.curve_fit", "Newton"),
    "assignment": (
        lambda x: scipy.optimize.linear_sum_assignment(x[:, None] * A),
        "linear_sum_assignment",
        r"C\[i, j\]",
    ),
    "quad": (lambda x: scipy.integrate.quad(lambda s: s * x[0], 0, 1), r"scipy\.integrate\.quad", "leggauss"),
    "solve_ivp": (
        lambda x: scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), x),
        r"integrate\.solve_ivp",
        "as a loop",
    ),
    "odeint": (lambda x: scipy.integrate.odeint(lambda y, t: -y, x, T), r"scipy\.integrate\.odeint", "as a loop"),
    "trapezoid": (scipy.integrate.trapezoid, r"scipy\.integrate\.trapezoid", r"np\.diff\(x\)"),
    "simpson": (lambda x: scipy.integrate.simpson(x), r"scipy\.integrate\.simpson", r"h / 3"),
    "interp1d": (lambda x: scipy.interpolate.interp1d(T, x)(0.5), r"scipy\.interpolate\.interp1d", "constant matrix"),
    "CubicSpline": (lambda x: scipy.interpolate.CubicSpline(T, x)(0.5), r"interpolate\.CubicSpline", "constant matrix"),
    "scipy.fft": (lambda x: scipy.fft.dct(x), r"scipy\.fft\.dct", r"np\.eye\(n\)"),
    "lfilter": (lambda x: scipy.signal.lfilter([1.0], [1.0, 0.5], x), r"scipy\.signal\.lfilter", "linear"),
    "gaussian_filter": (lambda x: scipy.ndimage.gaussian_filter(x, 1.0), r"scipy\.ndimage\.gaussian_filter", "linear"),
    "cdist": (lambda x: scipy.spatial.distance.cdist(x[None], A), r"distance\.cdist", r"X\[:, None\]"),
    "zscore": (lambda x: scipy.stats.zscore(x), r"scipy\.stats\.zscore", r"np\.std\(x\)"),
    "gmean": (lambda x: scipy.stats.gmean(x), r"scipy\.stats\.gmean", r"np\.exp\(np\.mean\(np\.log"),
    "pearsonr": (lambda x: scipy.stats.pearsonr(x, T), r"scipy\.stats\.pearsonr", r"np\.sum\(a \* b\)"),
    "norm.logpdf": (lambda x: scipy.stats.norm.logpdf(x), r"scipy\.stats\.norm\.logpdf", r"write -\(z\*\*2\) / 2"),
    "norm(...).cdf": (lambda x: scipy.stats.norm(0, x[0]).cdf(T), r"scipy\.stats\.norm\.cdf", r"special\.ndtr\(z\)"),
    "norm.fit": (lambda x: scipy.stats.norm.fit(x), r"scipy\.stats\.norm\.fit", r"np\.mean\(x\) and np\.std\(x\)"),
    "gamma.cdf": (lambda x: scipy.stats.gamma.cdf(x, 2.0), r"scipy\.stats\.gamma\.cdf", "primitive"),
    "poisson": (
        lambda x: scipy.stats.poisson.logpmf([1, 2, 0], x),
        r"stats\.poisson\.logpmf",
        r"special\.gammaln\(k",
    ),
    "multivariate": (
        lambda x: scipy.stats.multivariate_normal.logpdf(x, Z, A),
        "multivariate_normal",
        r"slogdet\(cov\)",
    ),
    "frozen": (lambda x: scipy.stats.multivariate_normal(x, A).logpdf(Z), "multivariate_normal", "its logpdf, write"),
    "dirichlet": (lambda x: scipy.stats.dirichlet.logpdf([0.2, 0.3, 0.5], x), "dirichlet", r"np\.sum\(alpha\)"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_function_is_named_and_a_remedy(name):
    call, named, remedy = CALLS[name]
    with pytest.raises(TypeError) as caught:
        ad.vjp(lambda x: (call(x), 1.0)[1], X[0] if name == "float" else X)
    with pytest.raises(TypeError, match=named):
        raise caught.value
    with pytest.raises(TypeError, match=remedy):
        raise caught.value
    said = str(caught.value)
    assert ("while x is traced: the derivative would be lost" in said) != ("cannot be traced" in said)
    if call.__name__ in ("<lambda>", "written", "entry_written", "number_written"):
        assert "test_refusals.py" in said or "cannot be traced" in said


def test_a_number_that_is_written_is_refused_as_an_array_is():
    def f(x):
        z = np.zeros(2)
        z[0] = x
        return z

    for x in (1.5, np.float64(1.5), np.array(1.5)):
        with pytest.raises(TypeError, match=r"z\[0\] = x is not possible.*np\.stack"):
            ad.grad(lambda v: np.sum(f(v)))(x)


def test_other_libraries():
    metrics = pytest.importorskip("sklearn.metrics")
    pd = pytest.importorskip("pandas")
    linear = pytest.importorskip("sklearn.linear_model")
    for f, match in (
        (
            lambda x: metrics.mean_squared_error(Z, x),
            r"metrics\.mean_squared_error.*np\.mean\(\(y - p\) \*\* 2\)",
        ),
        (lambda x: metrics.log_loss([0, 1, 1], x), r"sklearn\.metrics\.log_loss.*np\.log\(p\)"),
        (lambda x: metrics.roc_auc_score([0, 1, 1], x), r"sklearn\.metrics\.roc_auc_score.*piecewise constant"),
        (lambda x: metrics.pairwise.rbf_kernel(x[None], A), r"sklearn\.metrics\.pairwise\.rbf_kernel.*np\.exp\(-gamma"),
        (lambda x: linear.Ridge().fit(A, x), r"sklearn\.linear_model\.Ridge\.fit.*stop_gradient"),
        (pd.Series, r"pandas\.Series.*np\.asarray\(s\)"),
        (lambda x: pd.DataFrame(x[None]), r"pandas\.DataFrame.*np\.asarray\(s\)"),
    ):
        with pytest.raises(TypeError, match=match):
            ad.vjp(lambda x, f=f: (f(x), 1.0)[1], X)


def test_a_function_that_calls_numpys_is_named_beside_it():
    scope = {"__name__": "scipy.invented", "np": np}
    exec("def roots(x): return np.roots(x)", scope)
    roots = scope["roots"]
    with pytest.raises(TypeError, match=r"numpy\.roots cannot be traced.*, as scipy\.invented\.roots calls it\."):
        ad.vjp(lambda x: roots(x), X)
    with pytest.raises(TypeError, match=r"numpy\.roots cannot be traced by metagrad\.ad\. "):
        ad.vjp(lambda x: np.roots(x), X)


def test_an_error_that_hides_a_refusal_gets_it_as_a_note():
    with pytest.raises(Exception, match="not a proper array of floats") as caught:
        ad.vjp(lambda x: scipy.optimize.fsolve(lambda v: v - x, Z), X)
    assert "scipy.optimize.fsolve(x), which makes a plain array of x, is not possible" in caught.value.__notes__[0]

    def survives(x):
        try:
            float(x[0])
        except TypeError:
            raise KeyError("of the user") from None
        return x

    with pytest.raises(KeyError, match="of the user") as caught:
        ad.vjp(survives, X)
    with pytest.raises(ZeroDivisionError) as caught:
        ad.vjp(lambda x: 1 / 0, X)
    assert not hasattr(caught.value, "__notes__")


def test_code_without_a_source_is_refused_too():
    scope = {"nnls": scipy.optimize.nnls, "A": A, "np": np}
    exec("def f(x): return nnls(A, x)[0]\ndef g(x): return np.array([x, x])", scope)
    with pytest.raises(TypeError, match=r"scipy\.optimize\.nnls\(x\), which makes a plain array.*lost\. Find which"):
        ad.vjp(scope["f"], X)
    with pytest.raises(TypeError, match=r"a plain array of x is not possible.*np\.stack.*np\.where"):
        ad.vjp(scope["g"], X)
    with pytest.raises(TypeError, match=r"scipy\.optimize\.nnls\(x\)"):
        ad.vjp(lambda A: (scipy.optimize.nnls)(A, X)[0], A)
    with pytest.raises(TypeError, match=r"scipy\.stats\.zscore\(x\).*np\.std"):
        ad.vjp(scipy.stats.zscore, X)


def test_what_a_user_wraps_is_named_by_what_it_wraps():
    def own(f):
        return lambda x: f(x)

    with pytest.raises(TypeError, match=r"scipy\.stats\.zscore"):
        ad.vjp(own(lambda x: scipy.stats.zscore(x)), X)
    with pytest.raises(TypeError, match=r"float\(v\)|a plain number"):
        ad.vjp(lambda x: list(map(float, x)), X)


class Model:
    """What a user's own object holds is found, wherever in a line it is called."""

    density = scipy.stats.norm

    def __init__(self):
        self.rng, self.solve = np.random.default_rng(0), scipy.optimize.nnls

    @property
    def costly(self):
        raise AssertionError("a property of the user's must not run")

    def drawn(self, x):
        return self.rng.normal(x)

    def solved(self, x):
        é = "ü"  # noqa: PLC2401  # columns count bytes
        return é and self.solve(A, x)[0]

    def on_lines(self, x):
        return scipy.optimize.nnls(
            A,
            x,
        )[0]

    def dense(self, x):
        return self.density.logpdf(x)

    def comprehension(self, x):
        return [np.float64(v) for v in x]

    def two(self, x):
        z = np.zeros((2, 3))
        z[0], z[1] = x, x
        return z

    def partial(self, x):
        return functools.partial(scipy.optimize.nnls, A)(x)[0]


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("drawn", r"numpy\.random\.Generator\.normal.*: return self\.rng\.normal\(x\)\)"),
        ("solved", r"scipy\.optimize\.nnls\(x\).*: return é and self\.solve"),
        ("on_lines", r"scipy\.optimize\.nnls\(x\).*return scipy\.optimize\.nnls\("),
        ("dense", r"scipy\.stats\.norm\.logpdf"),
        ("comprehension", r"numpy\.float64\(x\)"),
        ("two", r"z\[0\] = x is"),
        ("partial", r"scipy\.optimize\.nnls\(x\)"),
    ],
)
def test_calls_as_users_write_them(method, match):
    model = Model()
    with pytest.raises(TypeError, match=match):
        ad.vjp(lambda x: (getattr(model, method)(x), x)[1], X)


def test_the_truth_of_an_array_gets_a_note():
    for f in (lambda x: 0 < x < 1, lambda x: x in [x + 1.0], lambda x: x if x > 0 else -x):
        with pytest.raises(ValueError, match="truth value of an array") as caught:
            ad.vjp(lambda x, f=f: (f(x), 1.0)[1], X)
        assert "np.logical_and(0 < x, x < 1)" in caught.value.__notes__[0]
        assert "np.where" in caught.value.__notes__[0]


def test_public_names():
    for function, name in (
        (np.array, "numpy.array"),
        (np.linalg.solve, "numpy.linalg.solve"),
        (scipy.stats.norm.logpdf, "scipy.stats.norm.logpdf"),
        (random.gauss, "random.gauss"),
        (Z.dot, "numpy.ndarray.dot"),
        (functools.partial(np.dot, Z), ""),
    ):
        assert public_name(function) == name


def test_what_passes_traced_values_on_needs_no_remedy():
    names = {f"{module}.{name}" for module, names in taught.NAMES.items() for name in names}
    assert not names & remedies.REMEDIES.keys()
    known = {public_name(f) for f in FUNCTIONS if not isinstance(f, np.ufunc)}
    assert not known & remedies.REMEDIES.keys()


def test_remedies_use_what_is_supported():
    makers = {"arange", "array", "asarray", "eye", "ones", "ma", "float16", "float32", "float64", "triu_indices"}
    makers |= {"polynomial.legendre.leggauss"}
    text = " ".join([*remedies.REMEDIES.values(), remedies.WRITE, remedies.STACK, remedies.NUMBER])
    named = set(re.findall(r"np\.((?:linalg\.|polynomial\.\w+\.)?\w+)", text)) - makers
    functions = [attrgetter(name)(np) for name in sorted(named - {"vectorize"})]  # a class, that is taught
    assert [f.__name__ for f in functions if f not in FUNCTIONS and f not in CONSTANT] == []


def test_every_remedy_is_a_sentence():
    for name, text in {**remedies.REMEDIES, **{f.__name__: text for f, text in remedies.REFUSED.items()}}.items():
        assert text.endswith(".") or text.endswith(". "), name
        assert not text.startswith(" "), name
