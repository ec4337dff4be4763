"""What data must be that a task is made of: the checks that several tasks share."""

from __future__ import annotations

from typing import Any

from metagrad.checks import FLOAT_DTYPE, FLOATS, count
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, is_array, namespace


def check_floats(where: str, name: str, x: Any) -> None:
    """Raise unless x is an array of floats."""
    if not is_array(x):
        bad_type(where, name, f"a {type(x).__name__}", "a NumPy or CuPy array", "Use np.asarray(...).")
    if x.dtype.name not in FLOATS:
        bad_type(where, name, f"an array of {x.dtype}", FLOAT_DTYPE, f"Use {name}.astype(float).")


def check_array(where: str, name: str, x: Any) -> None:
    """Raise unless x is a float array without NaN and inf."""
    check_floats(where, name, x)
    if not bool(namespace(x).isfinite(x).all()):
        bad_value(where, name, "not finite everywhere", "finite numbers", "Look for NaN and inf; drop those rows.")


def check_alike(where: str, arrays: dict[str, Array]) -> None:
    """Raise unless all arrays have the dtype of the first and live with it."""
    (first, X), *rest = arrays.items()
    namespace(*arrays.values(), where=where)
    for name, x in rest:
        if x.dtype != X.dtype:
            bad_type(where, name, f"of {x.dtype} while {first} is {X.dtype}", "one dtype", "Convert one of them.")


def task_count(where: str, counts: dict[str, int | None]) -> int:
    """Return the number of tasks B that all parts with a task axis share, 1 where none has one."""
    given = {name: count for name, count in counts.items() if count is not None}
    if len(set(given.values())) > 1:
        came = ", ".join(f"{count} in {name}" for name, count in given.items())
        bad_value(where, "the number of tasks", came, "one B for all parts that have a task axis")
    count = next(iter(given.values()), 1)
    if count == 0:
        bad_value(where, "the number of tasks", count, "at least one task")
    return count


def check_vector(where: str, name: str, x: Any, d: int) -> None:
    """Raise unless x is (d,) or (B, d), floating and finite."""
    check_array(where, name, x)
    if x.ndim not in (1, 2) or x.shape[-1] != d:
        bad_value(where, name, f"of shape {x.shape}", f"shape ({d},) or (B, {d}), as X has {d} columns")


def check_batch_size(where: str, batch_size: Any, n: int, replacement: bool, called: str = "n") -> None:
    """Raise unless a minibatch of this size can be drawn from n samples; `called` is what n is in the message."""
    if batch_size is None:
        return
    count(where, "batch_size", batch_size)
    if batch_size > n and not replacement:
        remedy = "Take a smaller batch, or replacement=True."
        bad_value(where, "batch_size", batch_size, f"at most {called} = {n} without replacement", remedy)


def check_epochs(where: str, batch_size: Any, epoch_seed: Any, n: int) -> None:
    """Raise unless minibatches of this size can be drawn of n samples, in epochs where there is a seed of theirs."""
    check_batch_size(where, batch_size, n, replacement=epoch_seed is None)
    if epoch_seed is None:
        return
    if isinstance(epoch_seed, bool) or not isinstance(epoch_seed, int):
        bad_type(where, "epoch_seed", repr(epoch_seed), "an integer or None")
    if epoch_seed < 0:
        bad_value(where, "epoch_seed", epoch_seed, "an integer of at least 0, or None")
    if batch_size is None:
        bad_value(where, "batch_size", None, "a batch size, as epoch_seed is given", "Leave epoch_seed out.")
