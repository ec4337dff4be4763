"""The peers: a module for each library and problem; PEERS compute the meta-gradient of the log objective on quadratics.

A peer is imported only when a benchmark asks for it; one that is not installed is named and left out.
"""

from __future__ import annotations

import importlib
from types import ModuleType

PEERS = {"jax": "benchmarks.peers.jax_peer", "torch": "benchmarks.peers.torch_peer"}
PEERS["autograd"] = "benchmarks.peers.autograd_peer"


def load(name: str, module: str | None = None) -> tuple[ModuleType | None, str]:
    """Return (module, "") of the peer `name`, or (None, why it is missing)."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        return None, f"{name} is not installed ({error}); install the extra 'bench'"
    return importlib.import_module(module or PEERS[name]), ""


def load_all(names: list[str], modules: dict[str, str] | None = None) -> tuple[dict[str, ModuleType], list[str]]:
    """Return the peers that are there, from `modules` or PEERS, and a sentence for each that is not."""
    found, missing = {}, []
    for name in names:
        module, why = load(name, (modules or PEERS)[name])
        if module is None:
            missing.append(why)
        else:
            found[name] = module
    return found, missing
