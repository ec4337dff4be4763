"""Inputs at which metagrad was once wrong with Status OK, each the smallest of its kind, and their right values.

The right values are those of `reference`, to 12 digits; a test computes them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fuzz.cases import Case

BEHIND = "w underflows behind a large state"
TERM = "the measured loss underflows"
EXPONENT = "one exponent a task"
SINGULAR = "closed form of a singular dense H"
NOISELESS = "noise-free least squares at long horizons"
SQUARED = "w0 is squared in the closed form"
ETA = "the size of eta is beyond 10**260"
CANCELLED = "cancellation leaves no digit"
CHAOS = "chaos"
SQUARES = "the squares of gradients underflow"
HALF = "half precision"


@dataclass(frozen=True)
class Known:
    """A case, what kind of fault it showed, and the right numbers by the names of `judge.compare`.

    `may_be_said`: a Status will do, since no order of operations in this dtype has digits.
    """

    name: str
    kind: str
    case: Case
    right: dict[str, str]
    may_be_said: bool = False


def _case(task: str, dtype: str, data: dict[str, Any], rule: str, phi: dict[str, Any], **rest: Any) -> Case:
    arrays = {name: np.asarray(x, dtype=dtype) for name, x in data.items()}
    held = {name: x if isinstance(x, float) else np.asarray(x, dtype=dtype) for name, x in phi.items()}
    return Case(task=task, dtype=dtype, data=arrays, rule=rule, phi=held, **rest)


def _descent(task: str, dtype: str, data: dict[str, Any], eta: Any, objective: str, steps: int, **rest: Any) -> Case:
    phi = {"eta": eta}
    return _case(task, dtype, data, "GradientDescent", phi, objective=objective, steps=steps, **rest)


def _diagonal(eigenvalues: Any, w0: Any) -> dict[str, Any]:
    return {"eigenvalues": [eigenvalues], "w0": [w0]}


_UNIT = _diagonal([1.0], [1.0])
_ONE = {"w0": [[1.0]]}
_NULL = _diagonal([1.0, 0.0], [1.0, 1.0])
_COORDINATES = _diagonal([1.0, 1.0], [1.0, 1.0])
_TWO_PHASES = np.where(np.arange(1400) < 1200, 3.0, 0.99)
_ADAM = dict(zip(("eta", "beta1", "beta2", "eps"), (0.0055974964, 1e-4, 0.99, 1e-8), strict=True))


def _half(phi: dict[str, float]) -> dict[str, Any]:
    return {name: np.float16(x) for name, x in phi.items()}


def _float32(phi: dict[str, float]) -> dict[str, Any]:
    return {name: np.float32(x) for name, x in phi.items()}


KNOWN = [
    Known(
        "rmsprop_behind",
        BEHIND,
        _case(
            "diagonal",
            "float32",
            _UNIT,
            "RMSprop",
            _float32({"eta": 0.05, "rho": 0.99, "eps": 1e-8}),
            objective="Final",
            steps=1000,
        ),
        {
            "value[0]": "1.10731126579e-08",
            "grad.eta": "0.11523441672",
            "grad.rho": "-0.0811849100856",
            "grad.eps": "-0.105198408448",
        },
        may_be_said=True,
    ),
    Known(
        "adagrad_behind",
        BEHIND,
        _case(
            "diagonal", "float32", _UNIT, "Adagrad", _float32({"eta": 0.5, "eps": 1e-8}), objective="Final", steps=300
        ),
        {"value[0]": "6.71908497673e-147", "grad.eta": "-8.36895907655e-144", "grad.eps": "3.71959450212e-144"},
    ),
    Known(
        "adam_behind",
        BEHIND,
        _case(
            "diagonal",
            "float32",
            _diagonal([7.832894e-06], [-0.014743975]),
            "Adam",
            _float32(_ADAM),
            objective="Mean",
            steps=361,
        ),
        {
            "value[0]": "6.18322592425e-12",
            "grad.eta": "1.71787501182e-09",
            "grad.beta1": "-2.80777355084e-11",
            "grad.beta2": "3.67493617255e-10",
            "grad.eps": "-0.000531849146543",
        },
    ),
    Known(
        "own_final",
        TERM,
        _descent("square", "float32", _ONE, 0.5, "Final", 100),
        {"value[0]": "3.11150763893e-61", "grad.eta": "-1.24460305557e-58"},
    ),
    Known(
        "own_final_adjoint",
        TERM,
        _descent("square", "float32", _ONE, 0.5, "Final", 100, options={"scaling": "adjoint"}),
        {"value[0]": "3.11150763893e-61", "grad.eta": "-1.24460305557e-58"},
        may_be_said=True,
    ),
    Known(
        "own_log",
        TERM,
        _descent("square", "float32", _ONE, np.float32(0.45), "LogFinal", 85),
        {"value[0]": "-1.20382863087", "grad.eta": "-3.63636355755"},
    ),
    Known(
        "own_log_adjoint",
        TERM,
        _descent("square", "float32", _ONE, np.float32(0.45), "LogFinal", 85, options={"scaling": "adjoint"}),
        {"value[0]": "-1.20382863087", "grad.eta": "-3.63636355755"},
        may_be_said=True,
    ),
    Known(
        "own_float64",
        TERM,
        _descent("square", "float64", _ONE, 0.5, "Final", 2000),
        {"value[0]": "3.79303935173e-1205", "grad.eta": "-3.03443148139e-1201"},
    ),
    Known(
        "null_eigenvalue",
        TERM,
        _descent("diagonal", "float64", _NULL, 0.5, "Final", 2000),
        {"value[0]": "3.79303935173e-1205", "grad.eta": "-3.03443148139e-1201"},
    ),
    Known(
        "null_eigenvalue_log",
        TERM,
        _descent("diagonal", "float64", _NULL, 0.5, "LogFinal", 1060),
        {"value[0]": "-1.38694827355", "grad.eta": "-4.0"},
    ),
    Known(
        "null_eigenvalue_float32",
        TERM,
        _descent("diagonal", "float32", _NULL, np.float32(0.01), "LogFinal", 5090),
        {"value[0]": "-0.0202368494835", "grad.eta": "-2.02020201975"},
    ),
    Known(
        "two_phases",
        EXPONENT,
        _descent(
            "diagonal", "float64", _diagonal([1.0, 0.001], [1.0, 1.0]), _TWO_PHASES, "Final", 1400, scheduled=("eta",)
        ),
        {
            "value[0]": "2.48475830495e-07",
            "grad.eta[1243]": "-4.9744413068e-10",
            "grad.eta[253]": "-4.98447001997e-10",
            "grad.eta[1358]": "-4.9744413068e-10",
            "grad.eta[138]": "-4.98447001997e-10",
        },
    ),
    Known(
        "coordinates",
        EXPONENT,
        _descent("diagonal", "float64", _COORDINATES, [3.0, 0.01], "Final", 600),
        {"value[0]": "8.60923972819e+360", "grad.eta[0]": "5.16554383692e+363", "grad.eta[1]": "-0.0035054967826"},
    ),
    Known(
        "coordinates_float32",
        EXPONENT,
        _descent("diagonal", "float32", _COORDINATES, [3.0, 0.01], "Final", 100),
        {"value[0]": "8.03469022129e+59", "grad.eta[0]": "8.03469022129e+61", "grad.eta[1]": "-13.5333010987"},
    ),
    Known(
        "wild_start",
        EXPONENT,
        _descent("diagonal", "float64", _diagonal([1.0, 0.5], [1e-200, 1e200]), 1.9, "LogFinal", 400),
        {"value[0]": "-2.51503899226", "grad.eta": "2.22222222222"},
    ),
    Known(
        "mean_of_three",
        SINGULAR,
        _descent(
            "dense",
            "float64",
            {"H": np.ones((3, 3)) / 3, "w0": [[1.0, 2.0, 0.0]]},
            0.7,
            "LogFinal",
            20,
            method="closed_form",
        ),
        {"value[0]": "-2.38767235325", "grad.eta": "-6.66666666667"},
    ),
    Known(
        "rank_one",
        SINGULAR,
        _descent(
            "dense",
            "float64",
            {"H": np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), "w0": [[1.0, 0.0, 0.0]]},
            0.1,
            "LogFinal",
            100,
            method="closed_form",
        ),
        {"value[0]": "-1.83951293555", "grad.eta": "70.0"},
    ),
    Known(
        "risk_of_one",
        NOISELESS,
        _descent(
            "least_squares",
            "float64",
            {"X": [[[1.0]]], "y": [[1.0]], "w0": [[0.0]], "w_star": [[1.0]]},
            0.5,
            "Final",
            60,
            measure="risk",
            method="closed_form",
        ),
        {"value[0]": "7.52316384526e-37", "grad.eta": "-1.80555932286e-34"},
        may_be_said=True,
    ),
    Known(
        "squared_start",
        SQUARED,
        _descent(
            "diagonal", "float64", _diagonal([2.0, 0.5], [1e-200, 1.0]), 1.4, "LogFinal", 3000, method="closed_form"
        ),
        {"value[0]": "0.868561984072", "grad.eta": "2.22222222222"},
    ),
    Known(
        "tiny_eta",
        ETA,
        _descent("diagonal", "float64", _diagonal([1e300], [1.0]), 1.5e-300, "LogFinal", 100),
        {"value[0]": "5.51452944606", "grad.eta": "4e+300"},
    ),
    Known(
        "balance_point",
        CANCELLED,
        _descent("diagonal", "float64", _diagonal([0.3], [1.0]), 1 / 0.3, "LogFinal", 10),
        {"value[0]": "-79.07941354", "grad.eta": "8.10647932927e+16"},
        may_be_said=True,
    ),
    Known(
        "logistic_map",
        CHAOS,
        _descent("cubic", "float64", {"w0": [[0.3]]}, 2.95, "Final", 120),
        {"value[0]": "-0.145839713001", "grad.eta": "-3.6627168001e+27"},
        may_be_said=True,
    ),
    Known(
        "logistic_map_float32",
        CHAOS,
        _descent("cubic", "float32", {"w0": [[0.3]]}, np.float32(2.8), "Mean", 80),
        {"value[0]": "-0.117870664665", "grad.eta": "44407083475.9"},
        may_be_said=True,
    ),
    Known(
        "noise_free_log",
        NOISELESS,
        _descent(
            "least_squares",
            "float64",
            {"X": [[[1.0], [1.0]]], "y": [[1.0, 1.0]], "w0": [[0.0]]},
            0.5,
            "LogFinal",
            60,
            measure="train",
            method="closed_form",
        ),
        {"value[0]": "-1.39784681413", "grad.eta": "-4.0"},
        may_be_said=True,
    ),
    Known(
        "floor_of_rounding",
        NOISELESS,
        _descent(
            "least_squares",
            "float64",
            {"X": [[[0.1], [0.3], [0.7]]], "y": [[0.1 * 0.9, 0.3 * 0.9, 0.7 * 0.9]], "w0": [[0.0]]},
            2.0,
            "LogFinal",
            100,
            measure="train",
            method="closed_form",
        ),
        {"value[0]": "-0.804980806924", "grad.eta": "-1.83187274442e-10"},
        may_be_said=True,
    ),
    Known(
        "held_at_two_over_l",
        CANCELLED,
        _descent(
            "diagonal",
            "float64",
            _diagonal([0.3], [1.0]),
            2 / 0.3,
            "LogFinal",
            10,
            options={"gradient": "stop_gradient"},
        ),
        {"value[0]": "-0.189711998489", "grad.eta": "4.4408920985e-18"},
        may_be_said=True,
    ),
    Known(
        "negative_form",
        CANCELLED,
        _descent(
            "dense",
            "float32",
            {"H": np.outer([-1.6, -1.8], [-1.6, -1.8]), "w0": [[0.5, -0.5]]},
            np.float32(0.15517241),
            "Final",
            3,
        ),
        {"value[0]": "-3.02298154814e-08", "grad.eta": "-1.74000213348e-06"},
        may_be_said=True,
    ),
    Known(
        "squares_underflow",
        SQUARES,
        _case(
            "diagonal",
            "float32",
            _diagonal([0.5], [-3e-22]),
            "RMSprop",
            _float32({"eta": 6e-5, "rho": 0.999, "eps": 1e-8}),
            objective="Final",
            steps=105,
        ),
        {
            "value[0]": "2.87053812974e-235",
            "grad.eta": "1.39418099178e-228",
            "grad.rho": "-3.01565594196e-230",
            "grad.eps": "-1.05715689737e-224",
        },
    ),
    Known(
        "rmsprop_half",
        HALF,
        _case(
            "diagonal",
            "float16",
            _diagonal(
                [1.719, 1.781, 1.555, 0.1611, 0.1954, 0.726, 1.765],
                [-1.181, 0.4094, -0.4604, 0.996, -0.336, 0.705, -1.162],
            ),
            "RMSprop",
            _half({"eta": 0.2548828125, "rho": 0.9, "eps": 1e-3}),
            objective="LogFinal",
            steps=47,
        ),
        {
            "value[0]": "-0.0627912758769",
            "grad.eta": "8.80779726265",
            "grad.rho": "2.96017361044",
            "grad.eps": "-67.5435532872",
        },
    ),
    Known(
        "adan_half",
        HALF,
        _case(
            "least_squares",
            "float16",
            {"X": [[[0.01551, -0.03024]]], "y": [[0.05136]], "w0": [[0.0, 0.0]]},
            "Adan",
            _half({"eta": 0.02155, "beta1": 0.0, "beta2": 0.5, "beta3": 0.99, "eps": 1e-3, "decay": 0.1}),
            objective="LogFinal",
            steps=1,
        ),
        {
            "value[0]": "-6.65216541768",
            "grad.eta": "-0.990315137459",
            "grad.beta1": "0.0",
            "grad.beta2": "0.0",
            "grad.beta3": "0.0",
            "grad.eps": "9.33245116957",
            "grad.decay": "0.000459708940102",
        },
    ),
]
