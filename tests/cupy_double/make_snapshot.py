"""Write snapshot.json: the names and signatures of CuPy's namespace that the double allows. Needs CuPy, no device."""

import inspect
import json
from pathlib import Path

import cupy
import cupyx.scipy.special


def describe(member):
    """Return what the double needs to know of one member."""
    if isinstance(member, cupy.ufunc):
        return {"ufunc": [member.nin, member.nout], "types": list(member.types)}
    try:
        parameters = inspect.signature(member).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {"parameters": [[p.name, p.kind.name, p.default is not p.empty] for p in parameters]}


def namespace(module):
    """Return the public callables and constants of a module."""
    names = [name for name in dir(module) if not name.startswith("_")]
    members = {name: getattr(module, name) for name in names}
    return {name: describe(m) for name, m in members.items() if not inspect.ismodule(m)}


SCIPY_LINALG = (
    "block_diag",
    "circulant",
    "expm",
    "hankel",
    "khatri_rao",
    "kron",
    "lu",
    "lu_factor",
    "lu_solve",
    "solve_triangular",
    "toeplitz",
)
SCIPY_SIGNAL = ("convolve", "convolve2d", "correlate", "fftconvolve")


if __name__ == "__main__":
    snapshot = {
        "version": cupy.__version__,
        "cupy": namespace(cupy),
        "linalg": namespace(cupy.linalg),
        "special": namespace(cupyx.scipy.special),
        # cuBLAS is loaded on import, so its names are told here.
        "scipy_linalg": {name: {} for name in SCIPY_LINALG},
        "scipy_signal": {name: {} for name in SCIPY_SIGNAL},
        "fft": {name: {} for name in namespace(cupy.fft)},
        "ndarray": [name for name in dir(cupy.ndarray) if not name.startswith("__")],
    }
    Path(__file__).with_name("snapshot.json").write_text(json.dumps(snapshot, separators=(",", ":")), encoding="utf-8")
