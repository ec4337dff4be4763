"""The faults: at which places of a source they can be made, and the source with one of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
_COMPARE |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
_BINARY = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
_BINARY |= {ast.FloorDiv: ast.Mult}
_NAMES = {"any": "all", "all": "any", "max": "min", "min": "max", "maximum": "minimum", "minimum": "maximum"}
_NAMES |= {"floor": "ceil", "ceil": "floor", "zeros_like": "ones_like", "ones_like": "zeros_like", "argmin": "argmax"}


@dataclass(frozen=True)
class Mutation:
    """One fault: the text from `start` to `end` (offsets in the source, in bytes of UTF-8) becomes `after`."""

    line: int
    kind: str
    start: int
    end: int
    before: str
    after: str

    def made(self, source: str) -> str:
        """Return the source with this fault."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()

    def compiles(self, source: str) -> bool:
        """Whether the source with this fault is Python."""
        try:
            compile(self.made(source), "mutant", "exec")
        except SyntaxError:
            return False
        return True

    def __str__(self) -> str:
        """Say where and what it is."""
        return f"line {self.line}, {self.kind}: {_one_line(self.before)}  ->  {_one_line(self.after)}"


def mutations(source: str) -> list[Mutation]:
    """Return all faults that can be put into a source, in its order; each gives a source that still compiles.

    >>> [str(m) for m in mutations("def f(x):\\n    return x + 1\\n")]
    ['line 2, operator: x + 1  ->  x - 1', 'line 2, number: 1  ->  4']
    """
    return [fault for fault in candidates(source) if fault.compiles(source)]


def candidates(source: str) -> list[Mutation]:
    """Return faults of which some may give a source that does not compile: to find out takes long."""
    tree, offsets = ast.parse(source), _line_offsets(source)
    data, found = source.encode(), []
    for node, kind, changed in _changes(tree):
        start = offsets[node.lineno - 1] + node.col_offset
        end = offsets[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        before, after = data[start:end].decode(), ast.unparse(changed)
        if "\n" in before:
            after = f"({after})" if isinstance(changed, ast.expr) else after
        found.append(Mutation(node.lineno, kind, start, end, before, after))
    return sorted(found, key=lambda one: (one.start, one.kind))


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr, str, ast.expr]]:
    """Yield a node, the kind of fault, and what takes its place."""
    silent = _not_run(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr) or id(node) in silent:
            continue
        match node:
            case ast.Compare(left=left, ops=[op], comparators=right) if type(op) in _COMPARE:
                yield node, "comparison", ast.Compare(left, [_COMPARE[type(op)]()], right)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                yield node, "operator", ast.BinOp(left, _BINARY[type(op)](), right)
            case ast.BoolOp(op=op, values=values):
                yield node, "and, or", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield node, "not", operand
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                yield node, "sign", operand
            case ast.Constant(value=bool(value)):
                yield node, "flag", ast.Constant(not value)
            case ast.Constant(value=int(value) | float(value)):
                yield node, "number", ast.Constant(4 * value if value else 1)
            case ast.Attribute(value=value, attr=name) if name in _NAMES:
                yield node, "function", ast.Attribute(value, _NAMES[name], node.ctx)
            case ast.Name(id=name) if name in _NAMES:
                yield node, "function", ast.Name(_NAMES[name], node.ctx)
            case ast.IfExp(test=test, body=body, orelse=other):
                yield node, "choice", ast.IfExp(test, other, body)


def _not_run(tree: ast.AST) -> set[int]:
    """Return the nodes that say nothing when the code runs, or are the words of an error: types, texts, f-strings."""
    found: set[int] = set()
    for node in ast.walk(tree):
        inside: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign):
            inside = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            inside = [node.returns, *(arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg))]
        elif isinstance(node, ast.JoinedStr | ast.Raise):
            inside = [node]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("bad_value", "bad_type"):
            inside = [*node.args]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in ("Literal",):
            inside = [node]
        found |= {id(part) for one in inside if one is not None for part in ast.walk(one)}
    return found


def _line_offsets(source: str) -> list[int]:
    total, found = 0, []
    for line in source.splitlines(keepends=True):
        found.append(total)
        total += len(line.encode())
    return found


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= 80 else f"{joined[:77]}..."
