"""What a result must be read with: the machine (no names), the versions, the date and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("metagrad", "numpy", "scipy", "numba", "jax", "jaxlib", "torch", "autograd")


def provenance(threads: int) -> dict[str, str]:
    """Return what describes this run, in the order in which the report shows it."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(Path(__file__).resolve().parent.parent),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "threads": f"{threads}" + (", pinned to one core" if threads == 1 and hasattr(os, "sched_setaffinity") else ""),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(_versions()),
        "blas": _blas(),
        "gpu": _gpu(),
    }


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return found


def commit(root: Path) -> str:
    """Return the commit of a checkout, and whether the package has been changed since."""
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "metagrad"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + (" with changes in metagrad/" if changed.stdout.strip() else "")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or "unknown"
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    clean = {key.strip(): value.strip() for key, value in fields.items()}
    model = clean.get("model name", "unknown")
    family = f"family {clean['cpu family']} model {clean['model']}" if "cpu family" in clean else ""
    wide = " with AVX-512" if "avx512f" in clean.get("flags", "") else ""
    return f"{model} ({family}){wide}" if family else model + wide


def _blas() -> str:
    import numpy as np  # noqa: F401 - loads the library that is looked for
    from threadpoolctl import threadpool_info

    found = [f"{p['internal_api']} {p['version']} ({p['num_threads']} threads)" for p in threadpool_info()]
    return ", ".join(sorted(set(found))) or "none found"


def _gpu() -> str:
    from metagrad.xp import GpuState, gpu_state

    state, why = gpu_state()
    if state is not GpuState.USABLE:
        return f"none: {why}"
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{name}, CuPy {cupy.__version__}, CUDA driver {cupy.cuda.runtime.driverGetVersion()}"
