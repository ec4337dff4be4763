"""The CUDA gates of the LSTM: the source compiles for devices, and its host build gives NumPy's numbers.

Where exp and tanh are right to 4 units in the last place, two of them differ by 8 eps at most. The rest adds less than
16 eps: t^2 doubles the difference of t = tanh(c'), and at most eight roundings follow, an eps for each pair of them. So
every number is held to 24 eps of the size of its terms.
"""

import shutil
import subprocess

import numpy as np
import pytest

from metagrad.kernels import _lstm_cell, _lstm_cuda
from metagrad.xp import namespace_for, rng, to_host
from tests.cupy_double import double, raw

NVCC = shutil.which("nvcc")
FLAGS = ["-std=c++14", "--Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 300), (20, 1), (3, 41), (4, 64)])
KERNELS = [f"{way}_gates_{dtype}" for way in ("open", "close") for dtype in ("float32", "float64")]


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_the_source_compiles_for_devices(target, tmp_path):
    if NVCC is None:
        pytest.skip("no nvcc here")
    given, made = tmp_path / "gates.cu", tmp_path / "gates.cubin"
    given.write_text(_lstm_cuda.source(), encoding="utf-8")
    subprocess.run([NVCC, "-cubin", f"-arch={target}", *FLAGS, "-o", made, given], check=True, timeout=300)
    assert all(name.encode() in made.read_bytes() for name in KERNELS)


@pytest.mark.parametrize("fault", ["double nonsense = tanh(Nothing());", "static int unused() { return 1.5; }"])
def test_faults_and_warnings_are_refused(fault, tmp_path):
    if NVCC is None:
        pytest.skip("no nvcc here")
    given = tmp_path / "gates.cu"
    given.write_text(_lstm_cuda.source() + fault, encoding="utf-8")
    command = [NVCC, "-cubin", "-arch=sm_80", *FLAGS, "-o", tmp_path / "gates.cubin", given]
    assert subprocess.run(command, check=False, capture_output=True, timeout=300).returncode != 0


@pytest.fixture(params=["double", pytest.param("device", marks=pytest.mark.gpu)])
def there(request):
    return double.NAMESPACE if request.param == "double" else namespace_for("gpu")


def draws(shape, dtype, seed=1):
    """Return z, c, c', dh, dc: gates from closed to open, some saturated, some adjoints zero."""
    draw, (units, count) = rng(seed, "gates"), shape
    z = draw.standard_normal((4 * units, count)) * 10.0 ** draw.uniform(-3, 2, (4 * units, count))
    special = rng(seed, "special").choice([1e4, -1e4, np.inf, -np.inf, 0.0, -0.0], z.shape)
    z = np.where(rng(seed, "where").random(z.shape) < 0.2, special, z)
    c, c_next, dh, dc = draw.standard_normal((4, *shape)) * 10.0 ** draw.uniform(-3, 1, (4, *shape))
    dc = np.where(draw.random(shape) < 0.3, 0.0, dc)
    return [x.astype(dtype) for x in (z, c, c_next, dh, dc)]


def close(found, expected, size, dtype):
    info = np.finfo(dtype)
    found, expected, size = (np.asarray(x, np.float64) for x in (found, expected, size))
    assert (np.abs(found - expected) <= 24 * info.eps * size + info.tiny).all()


def forward(kind, xp, z, c):
    arrays = [xp.array(x) for x in (z, c, np.full_like(c, np.nan), np.full_like(c, np.nan))]
    kind(xp.empty(z.shape, z.dtype)).forward(*arrays)
    return [to_host(x) for x in arrays]


def backward(kind, xp, *given):
    z, c, c_next, dh, dc = (xp.array(x) for x in given)
    kind(xp.empty(given[0].shape, given[0].dtype)).backward(z, c, c_next, dh, xp.zeros_like(dh), dc)
    return to_host(z), to_host(dc)


@DTYPES
@SHAPES
def test_forwards_they_are_those_of_numpy(shape, dtype, there):
    z, c, *_ = draws(shape, dtype)
    with np.errstate(over="ignore"):
        gates, _, c_next, h = forward(_lstm_cell.Gates, np, z, c)
    found, kept, c_found, h_found = forward(_lstm_cuda.CudaGates, there, z, c)
    i, f, o, j = np.split(gates, 4)
    terms = np.abs(f * c) + np.abs(i * j)
    np.testing.assert_array_equal(kept, c)
    close(found, gates, np.abs(gates), dtype)
    close(c_found, c_next, terms, dtype)
    close(h_found, h, np.abs(h) + o * terms, dtype)  # tanh' <= 1


@DTYPES
@SHAPES
def test_backwards_they_are_those_of_numpy(shape, dtype, there):
    z, c, c_next, dh, dc = draws(shape, dtype)
    with np.errstate(over="ignore"):
        gates = forward(_lstm_cell.Gates, np, z, c)[0]
    of_z, of_c = backward(_lstm_cell.Gates, np, gates, c, c_next, dh, dc)
    z_found, c_found = backward(_lstm_cuda.CudaGates, there, gates, c, c_next, dh, dc)
    i, f, o, j = np.split(gates, 4)
    whole = np.abs(dc) + np.abs(dh * o)
    slopes = [(1 - i) * i * np.abs(j) * whole, (1 - f) * f * np.abs(c) * whole]
    slopes += [np.abs((1 - o) * o * np.tanh(c_next) * dh), (1 - j * j) * i * whole]
    close(z_found, of_z, np.concatenate(slopes), dtype)
    close(c_found, of_c, f * whole, dtype)


@DTYPES
def test_a_closed_output_gate_and_no_adjoint_give_zeros(dtype, there):
    z, c, c_next, dh, dc = draws((3, 5), dtype)
    gates = forward(_lstm_cuda.CudaGates, there, np.where(np.arange(12)[:, None] // 3 == 2, np.inf, z), c)
    assert not gates[0][6:9].any()
    assert not gates[3].any()
    for found in backward(_lstm_cuda.CudaGates, there, gates[0], c, c_next, dh, 0 * dc):
        assert not found.any()


@DTYPES
def test_what_is_no_number_stays_in_its_cell(dtype, there):
    """NaN in a gate, in c or in an adjoint comes out where NumPy has it, and nowhere else."""
    given = draws((3, 5), dtype)
    for column, (array, row) in enumerate([(0, 1), (0, 4), (0, 10), (1, 2), (4, 0)]):
        given[array][row, column] = np.nan
    z, c, c_next, dh, dc = given
    ways = [(_lstm_cell.Gates, np), (_lstm_cuda.CudaGates, there)]
    with np.errstate(all="ignore"):
        ahead = [forward(*way, z, c) for way in ways]
        back = [backward(*way, gates, c, c_next, dh, dc) for way, (gates, *_) in zip(ways, ahead, strict=True)]
    for one, other in (ahead, back):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            assert 0 < np.isnan(a).sum() <= 5 * (len(a) // 3)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_thread_takes_several_cells_of_a_small_grid(blocks, monkeypatch, there):
    """Every cell is taken once: a second time would change what is in place."""
    z, c, c_next, dh, dc = draws((3, 41), np.float64)
    whole = forward(_lstm_cuda.CudaGates, there, z, c), backward(_lstm_cuda.CudaGates, there, z, c, c_next, dh, dc)
    monkeypatch.setattr(_lstm_cuda, "_THREADS", 16)
    monkeypatch.setattr(_lstm_cuda, "_MOST_BLOCKS", blocks)
    parts = forward(_lstm_cuda.CudaGates, there, z, c), backward(_lstm_cuda.CudaGates, there, z, c, c_next, dh, dc)
    for one, other in zip(whole, parts, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_arrays_of_a_device_get_them():
    room = double.NAMESPACE.empty((8, 3), np.float32)
    assert type(_lstm_cell.gates(room)) is _lstm_cuda.CudaGates
    assert type(_lstm_cell.gates(np.empty((8, 3)))) is _lstm_cell.Gates


@pytest.mark.parametrize(("grid", "block"), [((0,), (32,)), ((1,), (2048,)), (1, (32,)), ((1.0,), (32,))])
def test_the_double_refuses_what_cannot_be_launched(grid, block):
    kernel = raw.RawModule(code=_lstm_cuda.source()).get_function("open_gates_float32")
    with pytest.raises(ValueError, match="no launch"):
        kernel(grid, block, ())
