"""Every public callable of the tasks answers a bad argument with the project's form of error, and names it."""

import re

import numpy as np
import pytest

from metagrad import tasks
from metagrad.data.images import ImageData

FORM = re.compile(r"^[\w. ]+: .+ (is|are|has) .+; expected .+")
X, Y = np.random.default_rng(0).standard_normal((2, 6, 3)), np.random.default_rng(1).standard_normal((2, 6))
PIXELS, LABELS = np.zeros((8, 4), np.float32), np.arange(8) % 2
IMAGES = ImageData(PIXELS, LABELS, PIXELS, LABELS, "test", 2, (2, 2))
SPLIT = tasks.LeastSquares(X, Y)
VALID = {
    "DiagonalQuadratic": {"eigenvalues": np.ones(2), "w0": np.ones(2)},
    "Quadratic": {"H": np.eye(2), "w0": np.ones(2)},
    "random_quadratics": {"count": 2, "d": 3, "seed": 0, "dtype": np.float64},
    "FunctionTask": {"function": lambda w: (w**2).sum(axis=-1), "w0": np.ones((2, 3)), "sampler": None, "degree": None,
        "validation": None, "theta": None},
    "LearnedStart": {"task": SPLIT, "w0": None, "starts": 1},
    "LeastSquares": {
        "X": X, "y": Y, "w0": None, "validation": None, "w_star": None, "batch_size": 2, "replacement": True,
        "mask": None, "validation_mask": None,
    },
    "random_least_squares": {
        "count": 2, "n": 6, "d": 3, "sigma": 0.5, "seed": 0, "split": 0.5, "dtype": np.float64,
    },
    "random_regressions": {"count": 2, "d": 3, "family": "gaussian", "factor": 1.0, "seed": 0, "dtype": np.float64},
    "split_task": {"task": SPLIT, "fraction": 0.5, "seed": 0},
    "MLP": {"sizes": (4, 3, 2), "activation": "relu", "init_std": 0.1, "truncated": True},
    "MLPRegressor": {
        "net": tasks.MLP((3, 1)), "x": X, "y": Y[..., None], "validation": None, "count": 2, "batch_size": 2,
        "epoch_seed": None,
    },
    "Sinusoids": {
        "net": tasks.MLP((1, 3, 1)), "count": 2, "shots": 3, "query": 3, "grid": 9, "amplitude": (0.1, 5.0),
        "phase": (0.0, 1.0), "batch_size": None, "dtype": np.float64,
    },
    "MLPClassifier": {
        "net": tasks.MLP((4, 2)), "x": PIXELS, "y": LABELS, "validation": None, "test": None, "count": 1,
        "batch_size": 2, "epoch_seed": None,
    },
    "image_classifiers": {
        "data": IMAGES, "net": tasks.MLP((4, 2)), "count": 1, "train": 4,
        "validation": 2, "seed": 0, "dtype": np.float32,
    },
}  # fmt: skip
NOTHING = [None, "3", int, [], {}, object(), float("nan"), 1j, np.zeros(0), np.zeros((1, 1, 1, 1)), np.full(2, np.nan)]
NUMBER = [*NOTHING, float("inf"), -1.0]
COUNT = [*NOTHING, -1, 2.5, [1.5], True]
BAD = {name: [*COUNT, 0] for name in ("count", "d", "n", "train", "batch_size", "starts", "grid")} | {
    "seed": COUNT, "epoch_seed": COUNT, "validation": COUNT, "sigma": NUMBER, "split": NUMBER, "factor": NUMBER,
    "fraction": NUMBER, "replacement": ["no", None, 2, []], "degree": [*NOTHING, 2.5],
}  # fmt: skip
OPTIONAL = {
    "w0", "theta", "validation", "w_star", "batch_size", "mask", "validation_mask", "split", "test", "count",
    "epoch_seed", "train", "sampler", "degree", "shots", "query", "grid",
}  # fmt: skip


def test_all_public_callables_are_walked():
    assert set(VALID) == set(tasks.__all__)


PAIRS = [(name, argument) for name, arguments in VALID.items() for argument in arguments]


@pytest.mark.parametrize(("name", "argument"), PAIRS)
def test_bad_arguments_are_refused_in_the_form_of_the_project(name, argument):
    found = getattr(tasks, name)
    found(**VALID[name])
    wrong = []
    for bad in BAD.get(argument, NOTHING):
        if bad is None and argument in OPTIONAL:
            continue
        try:
            result = found(**VALID[name] | {argument: bad})
        except (ValueError, TypeError) as error:
            if not FORM.match(str(error)):
                wrong.append(f"{bad!r}: {type(error).__name__}: {str(error)[:90]}")
        except Exception as error:
            wrong.append(f"{bad!r}: {type(error).__name__}: {str(error)[:90]}")
        else:
            wrong.append(f"{bad!r}: accepted, {str(result)[:60]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: tasks.DiagonalQuadratic(np.ones((2, 3, 4)), np.ones((3, 4))), "eigenvalues is of shape"),
        (lambda: tasks.DiagonalQuadratic(np.ones((2, 4)), np.ones((3, 4))), "w0 is of shape"),
        (lambda: tasks.DiagonalQuadratic(np.ones(4), np.ones((0, 4))), "w0 is of shape"),
        (lambda: tasks.Quadratic(np.ones((2, 3, 4, 4)), np.ones((3, 4))), "H is of shape"),
        (lambda: tasks.Quadratic(np.eye(4), np.ones((0, 4))), "w0 is of shape"),
        (lambda: tasks.LeastSquares(X[0], np.ones((0, 6))), "number of tasks is 0"),
        (lambda: tasks.LeastSquares(X[:0], Y[:0]), "X is of shape"),
        (lambda: tasks.MLPClassifier(tasks.MLP((4, 2)), PIXELS, np.zeros((0, 8), int)), "number of tasks is 0"),
        (lambda: tasks.LeastSquares(X, Y, batch_size=2).centred(), "centred: batch_size is 2, minibatches"),
    ],
)
def test_shapes_that_are_refused(build, says):
    with pytest.raises(ValueError, match=says) as raised:
        build()
    assert FORM.match(str(raised.value))
