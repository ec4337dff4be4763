"""LLVM's instructions as machine code in the process, by llvmlite, which Numba brings.

Loops are vectorised, and neither unrolled nor interleaved: code for sizes that are not known is as fast so, and takes a
third of the time to make. Floats are IEEE 754's, one instruction each: no flag allows anything else. One engine holds
the code of all modules, for as long as the process lives.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from threading import Lock
from typing import Any

_NUMBERS, _LOCK = count(), Lock()


def new_name() -> str:
    """Return a name for a function that no other one in the process has."""
    return f"steps{next(_NUMBERS)}"


def machine_code(module: Any, name: str) -> int:
    """Return the address of a function of a module."""
    import llvmlite.binding as llvm

    with _LOCK:
        if not hasattr(llvm, "create_pass_builder"):
            return _by_numba(module, name)
        engine, machine = _engine()
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization, options.slp_vectorization = True, False
        options.loop_interleaving = options.loop_unrolling = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(parsed, builder)
        engine.add_module(parsed)
        engine.finalize_object()
        return int(engine.get_function_address(name))


@cache
def _engine() -> tuple[Any, Any]:
    """Return what holds the code, and what the passes know the processor by: the first owns a machine of its own."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    mine, passes = (
        target.create_target_machine(opt=2, cpu=llvm.get_host_cpu_name(), features=features, jit=True) for _ in range(2)
    )
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), mine), passes


def _by_numba(module: Any, name: str) -> int:
    """Return the same with an llvmlite that has no such passes."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    context: Any = cpu_target.target_context
    with global_compiler_lock:
        library = context.codegen().create_library(name)
        library.add_ir_module(module)
        library.finalize()
    _ALIVE.append(library)
    return int(library.get_pointer_to_function(name))


_ALIVE: list[Any] = []
