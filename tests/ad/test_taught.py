"""Plain functions of SciPy pass traced values on, in whatever order things are imported; and nothing else changes."""

import inspect
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.special

from metagrad import ad
from metagrad.ad import taught


def run(code):
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


SLOPE = "print(*ad.grad(logsumexp)(np.zeros(2)))"


@pytest.mark.parametrize(
    "imports",
    [
        "import numpy as np; from metagrad import ad; from scipy.special import logsumexp",
        "import numpy as np; import scipy.special as sp; from metagrad import ad; logsumexp = sp.logsumexp",
        "import numpy as np; import scipy.special; from metagrad import ad; from scipy.special import logsumexp",
        "from metagrad import ad; import numpy as np, scipy; logsumexp = scipy.special.logsumexp",
        "from scipy.special import logsumexp; import numpy as np; from metagrad import ad",
    ],
)
def test_imports_in_any_order(imports):
    assert run(f"{imports}; {SLOPE}") == ["0.5", "0.5"]


def test_importing_metagrad_imports_no_scipy():
    assert run("import sys, metagrad; print('scipy' in sys.modules)") == ["False"]


@pytest.mark.parametrize("name", [f"{module}.{name}" for module, names in taught.NAMES.items() for name in names])
def test_what_is_taught_is_the_function_that_was_for_all_else(name):
    module, _, attribute = name.rpartition(".")
    function = getattr(sys.modules.get(module) or __import__(module, fromlist=["x"]), attribute)
    assert function.is_taught
    assert function.__name__ == attribute
    assert pickle.loads(pickle.dumps(function)) is function
    assert "traced" not in (function.__doc__ or "")
    assert attribute in inspect.getsource(function)
    assert next(iter(inspect.signature(function).parameters)) not in ("args", "kwargs")
    spec = inspect.getfullargspec(function)
    assert [*spec.args, spec.varargs][0] == next(iter(inspect.signature(function).parameters))
    taught.teach(sys.modules[module])
    assert getattr(sys.modules[module], attribute) is function  # once, not twice


def test_plain_arrays_never_meet_the_tape(monkeypatch):
    def fails(*args):
        raise AssertionError("the tape was asked")

    monkeypatch.setattr("metagrad.ad.calls.find", fails)
    x = np.array([[0.5, 1.0], [2.0, 3.0]])
    assert scipy.special.logsumexp(x, axis=1, b=[1.0, 2.0]).shape == (2,)
    assert np.vectorize(lambda a, b: a + b)(x, 1.0).tolist() == (x + 1.0).tolist()


def test_register():
    with pytest.raises(TypeError, match=r"register: function is .*expected a ufunc"):
        ad.register(lambda x: x, np.sin)
    with pytest.raises(TypeError, match="register: traced is a float; expected a function"):
        ad.register(np.sin, 1.0)
    sine = np.frompyfunc(np.sin, 1, 1)
    with pytest.raises(TypeError, match="sin"):
        ad.grad(lambda x: np.sum(sine(x)))(np.ones(2))


def test_warnings_tell_the_line_of_the_caller():
    ill = np.diag([1.0, 1e-20])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        scipy.linalg.solve(ill, np.ones(2))
    assert [w.filename for w in seen] == [__file__]
