"""Every public callable of the theory answers a bad argument with the project's form of error, and names it."""

import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest

import metagrad.theory
from metagrad.theory import SignedLog, Spectrum, least_squares, sgd
from metagrad.theory.least_squares.tuned_limit import Tuning
from metagrad.theory.quadratic import horizons, meta_descent
from metagrad.theory.sgd import noisy_quadratic, single_pass

FORM = re.compile(r"^[\w. ]+: .+ (is|are|has) .+; expected .+")
INSIDE = {"numbers", "checks", "adjoint", "powers", "recursion", "symbolic"}  # what no user calls
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal(6)
SPECTRUM = Spectrum([0.5, 1.0, 2.0], [1.0, 2.0, 0.5])
PROBLEM = sgd.SgdProblem(X, Y)

# a valid value of every argument, by its name
VALID = {
    "spectrum": SPECTRUM,
    "regression": least_squares.Regression.of(X, Y),
    "H": np.diag([1.0, 2.0]),
    "h": [1.0, 2.0],
    "matrix": np.eye(2),
    "zeros": np.array([0]),
    "eigenvalues": [0.5, 1.0],
    "weights": [1.0, 2.0],
    "coefficients": [1.0, 2.0],
    "residual": 0.0,
    "basis": np.eye(2),
    "horizon": np.inf,
    "whole": True,
    "rounding": 0.0,
    "log_weights": None,
    "eta": 0.3,
    "etas": [0.3, 0.2, 0.1],
    "eta0": 0.3,
    "step": 0.5,
    "steps": 4,
    "rho": 0.9,
    "measure": "loss",
    "number": horizons.FLOAT32,
    "meta_steps": 3,
    "scale": 0.01,
    "floor": 0.0,
    "objective": "log",
    "compiled": False,
    "trajectory": meta_descent.meta_descent(SPECTRUM, 0.2, steps=4, meta_steps=3),
    "sign": 1.0,
    "log": 0.0,
    "value": SignedLog(1.0, 0.0),
    "slope": SignedLog(1.0, 0.0),
    "X": X,
    "y": Y,
    "X_val": X[:2],
    "y_val": Y[:2],
    "w": np.zeros(3),
    "w0": np.zeros(3),
    "w_star": np.ones(3),
    "radius": 10.0,
    "sigma": 0.5,
    "signal": 1.0,
    "train": None,
    "method": "svd",
    "gamma": 0.5,
    "s": 0.5,
    "size": 4,
    "ratio": 2.0,
    "risk": 0.5,
    "eps": 0.1,
    "overfit": 1 / 3,
    "learned": 0.5,
    "tuning": None,
    "span": (0.5, 20.0),
    "points": 4,
    "split": 0.5,
    "retrain": False,
    "problem": PROBLEM,
    "measures": [sgd.train_measure(PROBLEM)],
    "schedule": [0.1, 0.2],
    "batch_size": 1,
    "replacement": True,
    "second_moment": None,
    "rows": X,
    "targets": Y,
    "A": np.eye(3),
    "p": np.zeros(3),
    "q": 0.0,
    "time": 1.0,
    "epochs": 1.0,
    "start": 1.0,
    "noise": 1.0,
    "curvatures": [1.0, 2.0],
    "largest": 1.0,
    "d": 2,
    "n": 6,
    "name": "float8",
    "max": 1.0,
    "tiny": 0.1,
    "smallest_subnormal": 0.01,
    "exponent_bits": 4,
    "mantissa_bits": 3,
    "zero_below": 0.0,
    "roundoff": None,
}
