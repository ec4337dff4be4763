"""Functions put together from the operations of the table; their derivatives come from their parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad import ops
from metagrad.ad.tape import Rule, Var, value_of


def stop_gradient(x: Any) -> Any:
    """Return the value of x as a constant: nothing flows through."""
    return value_of(x)


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return log sum exp over `axis`, without overflow."""
    top = np.max(value_of(a), axis=axis, keepdims=True)
    total = ops.log(ops.sum(ops.exp(a - top), axis=axis, keepdims=keepdims))
    return total + (top if keepdims else top.reshape(total.shape))


def log_softmax(a: Any, axis: int = -1) -> Any:
    """Return a - logsumexp(a) along `axis`."""
    return a - logsumexp(a, axis=axis, keepdims=True)


def dot(a: Any, b: Any) -> Any:
    """Return the dot product of NumPy for up to two dimensions of b."""
    if np.ndim(value_of(a)) == 0 or np.ndim(value_of(b)) == 0:
        return ops.multiply(a, b)
    return ops.matmul(a, b)


def outer(a: Any, b: Any) -> Any:
    """Return the outer product of two vectors."""
    return ops.reshape(a, (-1, 1)) * ops.reshape(b, (1, -1))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the Euclidean norm over `axis`; its derivative at zero is that of the square root, not a number."""
    if ord not in (None, 2):
        raise TypeError(f"norm of order {ord!r} on the tape: only the Euclidean norm has a rule; write it out.")
    return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))


def vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    """Return sum a b over `axis`."""
    return ops.sum(a * b, axis=axis)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Return the Einstein sum; no letter twice in one operand, no ellipsis."""
    inputs, output = _parse(subscripts, len(operands))
    lengths = {
        c: n
        for letters, x in zip(inputs, operands, strict=True)
        for c, n in zip(letters, np.shape(value_of(x)), strict=True)
    }

    def rule_of(i: int) -> Rule:
        def rule(g: Any, y: Any, *others: Any) -> Any:
            rest = [x for j, x in enumerate(others) if j != i]
            letters = [inputs[j] for j in range(len(inputs)) if j != i]
            known = "".join(c for c in inputs[i] if c in output or any(c in s for s in letters))
            part = einsum(",".join([output, *letters]) + "->" + known, g, *rest)
            # letters summed over within this operand alone: the cotangent is the same along them
            shape = [lengths[c] if c in known else 1 for c in inputs[i]]
            return ops.broadcast_to(ops.reshape(part, shape), tuple(lengths[c] for c in inputs[i]))

        return rule

    if not any(type(x) is Var for x in operands):
        return np.einsum(f"{','.join(inputs)}->{output}", *operands)
    value = np.einsum(f"{','.join(inputs)}->{output}", *[value_of(x) for x in operands])
    return Var(value, operands, tuple(rule_of(i) for i in range(len(operands))))


def _parse(subscripts: str, count: int) -> tuple[list[str], str]:
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if "." in text or len(inputs) != count or any(len(set(s)) != len(s) for s in inputs):
        raise TypeError(
            f"einsum {subscripts!r} on the tape: write every letter out, once in each operand "
            "(no ellipsis, no diagonal)."
        )
    if not arrow:
        output = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    return inputs, output


def _domain_of_logsumexp(rng: np.random.Generator) -> tuple[Any, ...]:
    return rng.standard_normal((3, 4)), -1


for _call, _domain in (
    (logsumexp, _domain_of_logsumexp),
    (log_softmax, _domain_of_logsumexp),
    (dot, lambda r: (r.standard_normal((3, 4)), r.standard_normal(4))),
    (outer, lambda r: (r.standard_normal(3), r.standard_normal(4))),
    (norm, lambda r: (r.standard_normal((3, 4)), None, -1)),
    (vecdot, lambda r: (r.standard_normal((3, 4)), r.standard_normal((3, 4)))),
    (einsum, lambda r: ("bij,bj->bi", r.standard_normal((2, 3, 4)), r.standard_normal((2, 4)))),
):
    ops.TABLE[_call.__name__] = ops.Entry(_call, _domain)
