"""Kernels as machine code, through Numba (the extra `fast`): its wrapper for calls, and LLVM's instructions from here.

Instructions are those of IEEE 754, one for one: no fast-math flag is set, so nothing is contracted or reordered. Every
written array is said to overlap no other argument, which `buffers` sees to; loops of many arrays are vectorised then.
Kept in the process by what a kernel is, not on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from metagrad.replay.loops import Argument, Kernel
from metagrad.replay.pairwise import pairwise
from metagrad.replay.sums import ALONG

_SCOPES = 48  # for written arrays; more share them
_TESTS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "=="}
_TRUTH = {"logical_and": "and_", "logical_or": "or_", "logical_xor": "xor"}
_ARITHMETIC = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv", "count": "add"}
_COUNTED = ("add", "sub", "mul")
_INTRINSICS = {
    "absolute": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "rint": "rint", "trunc": "trunc"
}  # fmt: skip
FUNCTIONS: dict[Kernel, Callable[..., Any]] = {}


def function_of(kernel: Kernel) -> Callable[..., Any]:
    """Return the function of a kernel, called with the table and what does not stay in place.

    It tells whether it saw a NaN where it was to look for one.
    """
    found = FUNCTIONS.get(kernel)
    if found is None:
        found = FUNCTIONS[kernel] = _compiled(kernel)
    return found


def _compiled(kernel: Kernel) -> Callable[..., Any]:
    from numba import njit, types
    from numba.extending import intrinsic

    kinds = {"f8": types.float64, "f4": types.float32, "b1": types.boolean, "i8": types.int64}

    def type_of(kind: str, axes: int | None) -> Any:
        return kinds[kind] if axes is None else types.Array(kinds[kind], axes, "A")

    given = [type_of(argument.kind, argument.axes) for argument in kernel.arguments if argument.place is None]
    signature = (types.int64[::1], *given)

    def typed(context: Any, *args: Any) -> Any:
        def code(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = zip(signature.args, values, strict=True)
            passed = (target.make_array(ty)(target, builder, x).data if hasattr(ty, "ndim") else x for ty, x in given)
            table, saw = next(passed), flag(builder)
            Code(kernel, builder, table, saw, passed=passed).whole()
            seen = builder.load(saw)
            return builder.icmp_unsigned("!=", seen, seen.type(0))

        return types.boolean(*args), code

    names = ", ".join(f"a{i}" for i in range(len(signature)))
    scope = {"typed": typed}
    exec(f"def body(context, {names}): return typed(context, {names})", scope)
    scope["body"] = intrinsic(scope["body"])
    exec(f"def chain({names}): return body({names})", scope)
    options: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
    compiled: Any = njit(signature, **options)(scope["chain"])
    entry: Callable[..., Any] = compiled.overloads[compiled.signatures[0]].entry_point
    return entry  # what the dispatcher calls, having looked at the types of the arguments, which are known here


def flag(builder: Any) -> Any:
    """Return where a kernel leaves whether it saw what it looks for: nothing yet."""
    from llvmlite import ir
    from numba.core import cgutils

    util: Any = cgutils
    return util.alloca_once_value(builder, ir.Constant(ir.IntType(8), 0))


class Code:
    """The instructions of a kernel."""

    def __init__(
        self,
        kernel: Kernel,
        builder: Any,
        table: Any,
        saw: Any,
        *,
        row: Any = None,
        passed: Iterator[Any] | None = None,
        part: int = 0,
    ) -> None:
        """Take the table, the row of what moves, the flag, and the arguments that are in neither.

        `part`: which one of its function it is; what one part writes another may read.
        """
        from llvmlite import ir
        from numba.core import cgutils

        self._kernel, self._builder, self._ir = kernel, builder, ir
        self._util: Any = cgutils
        self._types = {"f8": ir.DoubleType(), "f4": ir.FloatType(), "b1": ir.IntType(1), "i8": ir.IntType(64)}
        self._written = [i for i, argument in enumerate(kernel.arguments) if argument.is_written]
        count = min(_SCOPES, len(self._written))
        self._table, self._row, self._scopes = table, row, _scopes(builder.module, part, count)
        given = iter(()) if passed is None else passed
        self._arguments = [next(given) if a.place is None else self._at(a, a.place) for a in kernel.arguments]
        self._names: dict[str, Any] = {}
        self._index: list[Any] = []
        self._flag = saw

    def _at(self, argument: Argument, place: int) -> Any:
        """Return the pointer to an array whose address is in the table, or in the row but for a distance."""
        entry, address = (
            self._ir.IntType(8) if argument.kind == "b1" else self._types[argument.kind],
            self._entry(place),
        )
        if argument.row is not None:
            start = self._builder.load(self._builder.gep(self._row, [self._types["i8"](argument.row)]))
            address = self._builder.add(address, self._marked(start, None))
        return self._builder.inttoptr(address, entry.as_pointer())

    def whole(self) -> None:
        """Write them all."""
        for loop in self._kernel.loops:
            self._enter(loop.steps, [self._entry(place) for place in loop.sizes])

    def _enter(self, steps: Any, sizes: list[Any]) -> None:
        if not sizes:
            for step in steps:
                self._do(step)
            return
        with self._util.for_range(self._builder, sizes[0]) as loop:
            self._index.append(loop.index)
            self._enter(steps, sizes[1:])
            self._index.pop()

    def _do(self, step: Any) -> None:
        what, b = step[0], self._builder
        if what in ("read", "pick"):
            _, name, argument, steps, *parts = step
            found = self._load(self._arguments[argument], steps, self._scope(argument), *parts)
            is_truth = self._kernel.arguments[argument].kind == "b1"
            self._names[name] = b.icmp_unsigned("!=", found, found.type(0)) if is_truth else found
        elif what == "take":
            self._names[step[1]] = self._arguments[step[2]]
        elif what == "number":
            _, name, kind, place = step
            bits = self._entry(place)
            self._names[name] = bits if kind == "i8" else self._literal(b.bitcast(bits, self._types["f8"]), kind)
        elif what == "write":
            _, argument, steps, name = step
            self._store(name, argument, self._place(steps))
        elif what == "keep":
            _, argument, place, name = step
            self._store(name, argument, self._types["i8"](place))
        elif what == ALONG:
            _, name, kind, argument, length = step
            size = self._entry(length)
            start = b.mul(self._index[0], size) if self._index else size.type(0)
            at = b.gep(self._arguments[argument], [start])
            self._names[name] = b.fadd(self._types[kind](0.0), b.call(pairwise(b.module, kind), [at, size]))
        elif what == "look":
            x = self._names[step[1]]
            self._raise(b.fcmp_unordered("uno", x, x))
        elif what == "within":
            _, name, index, length = step
            self._names[name] = self._counted_from_the_end(self._names[index], self._entry(length))
        elif what == "put":
            _, argument, steps, parts, name = step
            self._store(name, argument, self._place(steps, parts))
        elif what == "guard":
            self._raise(b.xor(self._names[step[1]], self._types["b1"](int(step[2]))))
        else:
            _, name, kind, names = step
            self._names[name] = self._computed(what, kind, [self._names[x] for x in names])

    def _raise(self, is_seen: Any) -> None:
        """Leave word of what was seen, if it was."""
        b = self._builder
        b.store(b.or_(b.load(self._flag), b.zext(is_seen, self._ir.IntType(8))), self._flag)

    def _computed(self, what: str, kind: str, xs: list[Any]) -> Any:
        b, x, y = self._builder, xs[0], xs[-1]
        kind_of_call, _, how = what.partition(" ")
        if how:
            return self._converted(x, how, kind) if kind_of_call == "from" else self._counted(how, x, y)
        if what in _ARITHMETIC:  # b.fadd(x, y)
            return getattr(b, _ARITHMETIC[what])(x, y)
        if what in _INTRINSICS:
            return b.call(b.module.declare_intrinsic(f"llvm.{_INTRINSICS[what]}", [x.type]), [x])
        if what in _TRUTH or what == "logical_not":
            first, second = (z if kind == "b1" else b.fcmp_unordered("!=", z, z.type(0.0)) for z in (x, y))
            return b.not_(first) if what == "logical_not" else getattr(b, _TRUTH[what])(first, second)
        if kind == "b1" and what in ("equal", "not_equal"):
            return b.icmp_unsigned("==" if what == "equal" else "!=", x, y)
        return b.fcmp_ordered(_TESTS[what], x, y) if what in _TESTS else getattr(self, f"_{what}")(*xs)

    def _counted(self, how: str, x: Any, y: Any) -> Any:
        """Return what is computed of counts: a sum, a difference or a product, or how they compare.

        Python's integers have no largest one: where these would, that is seen.
        """
        b = self._builder
        if how == "rem":
            return b.srem(x, y)
        if how not in _COUNTED:
            return b.icmp_signed(how, x, y)
        found = getattr(b, f"s{how}_with_overflow")(x, y)
        self._raise(b.extract_value(found, 1))
        return b.extract_value(found, 0)

    def _where(self, c: Any, x: Any, y: Any) -> Any:
        return self._builder.select(c, x, y)

    def _negative(self, x: Any) -> Any:
        return self._builder.fneg(x)

    def _square(self, x: Any) -> Any:
        return self._builder.fmul(x, x)

    def _reciprocal(self, x: Any) -> Any:
        return self._builder.fdiv(x.type(1.0), x)

    def _not_equal(self, x: Any, y: Any) -> Any:
        return self._builder.fcmp_unordered("!=", x, y)

    def _isnan(self, x: Any) -> Any:
        return self._builder.fcmp_unordered("uno", x, x)

    def _isinf(self, x: Any) -> Any:
        return self._builder.fcmp_ordered("==", self._computed("absolute", "", [x]), x.type(float("inf")))

    def _isfinite(self, x: Any) -> Any:
        return self._builder.fcmp_ordered("<", self._computed("absolute", "", [x]), x.type(float("inf")))

    def _sign(self, x: Any) -> Any:
        """Of zeros of both signs 0, of a NaN the NaN."""
        b, zero = self._builder, x.type(0.0)
        rest = b.select(b.fcmp_ordered("==", x, zero), zero, x)
        below = b.select(b.fcmp_ordered("<", x, zero), x.type(-1.0), rest)
        return b.select(b.fcmp_ordered(">", x, zero), x.type(1.0), below)

    def _maximum(self, x: Any, y: Any) -> Any:
        return self._extreme(">", x, y)

    def _minimum(self, x: Any, y: Any) -> Any:
        return self._extreme("<", x, y)

    def _extreme(self, how: str, x: Any, y: Any) -> Any:
        """Of equal ones the second, which tells zeros apart; a NaN where there is one."""
        b = self._builder
        return b.select(b.or_(b.fcmp_ordered(how, x, y), self._isnan(x)), x, y)

    def _converted(self, x: Any, old: str, new: str) -> Any:
        b, to = self._builder, self._types[new]
        if old == "b1":
            return b.zext(x, to) if new == "i8" else b.uitofp(x, to)
        if old == "i8":  # as Python does it: by way of float64
            return self._literal(b.sitofp(x, self._types["f8"]), new)
        if new == "b1":
            return self._not_equal(x, x.type(0.0))
        return b.fptrunc(x, to) if new == "f4" else b.fpext(x, to)

    def _literal(self, x: Any, kind: str) -> Any:
        return x if kind == "f8" else self._converted(x, "f8", kind)

    def _counted_from_the_end(self, index: Any, length: Any) -> Any:
        """Return an index that counts from the end where it is negative; one that is out of range is seen."""
        b, zero = self._builder, index.type(0)
        found = b.select(b.icmp_signed("<", index, zero), b.add(index, length), index)
        is_out = b.icmp_unsigned(">=", found, length)
        self._raise(is_out)
        return b.select(is_out, zero, found)

    def _place(self, steps: tuple[int, ...], parts: tuple[tuple[str, int], ...] = ()) -> Any:
        """Return the place in an array: by steps along the loops, and by others times `parts`, names of integers."""
        b, place = self._builder, self._types["i8"](0)
        for index, step in zip(self._index, steps, strict=True):
            if step:
                place = b.add(place, index if step == 1 else b.mul(index, self._entry(step)))
        for name, step in parts:
            place = b.add(place, b.mul(self._names[name], self._entry(step)))
        return place

    def _entry(self, place: int) -> Any:
        at = self._builder.gep(self._table, [self._types["i8"](place)])
        return self._marked(self._builder.load(at), None)

    def _load(self, pointer: Any, steps: tuple[int, ...], scope: int | None, parts: Any = ()) -> Any:
        at = self._builder.gep(pointer, [self._place(steps, parts)])
        return self._marked(self._builder.load(at), scope)

    def _store(self, name: str, argument: int, place: Any) -> None:
        b, x = self._builder, self._names[name]
        x = b.zext(x, self._ir.IntType(8)) if x.type == self._types["b1"] else x
        at = b.gep(self._arguments[argument], [place])
        self._marked(b.store(x, at), self._scope(argument))

    def _scope(self, argument: int) -> int | None:
        """Return which scope of its own an array that is written has; None for what is only read."""
        return self._written.index(argument) % _SCOPES if argument in self._written else None

    def _marked(self, instruction: Any, scope: int | None) -> Any:
        """Say that a reading or writing meets no array but its own."""
        mine = self._scopes[-1 if scope is None else scope]
        module = self._builder.module
        instruction.set_metadata("alias.scope", module.add_metadata([mine]))
        instruction.set_metadata("noalias", module.add_metadata([s for s in self._scopes if s is not mine]))
        return instruction


def _scopes(module: Any, part: int, count: int) -> list[Any]:
    """Return one scope for each of so many written arrays, and at last one for all that is only read.

    They hold within a part.
    """
    domain = module.add_metadata([f"chain {part}"])
    return [module.add_metadata([f"array {i}", domain]) for i in range(count + 1)]


@cache
def why_not() -> str | None:
    """Return why there is no compiler, None where there is one."""
    try:
        import numba  # noqa: F401
    except Exception as error:  # it is broken, or not there
        what = "" if isinstance(error, ModuleNotFoundError) else f" ({type(error).__name__}: {error})"
        return f"Numba is not there, the extra `fast`{what}"
    return None
