"""What a computation depends on, as one hash: the data and the code of objects, never where they lie in memory."""

from __future__ import annotations

import copyreg
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from metagrad.errors import bad_type, bad_value, nearest
from metagrad.xp import is_array, to_host

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_LONGEST_TEXT = 60
_DEPTH, _MOST_PIECES = 4, 20  # of the pieces of a part that are named
_SHOWN, _BEGINNING = 3, 12


def fingerprint(*parts: Any) -> str:
    """Return a hash of what `parts` are made of: the same in every process that makes them in the same way.

    Of arrays, numbers and containers what they hold; of objects their attributes, in slots too, and their class; of
    classes their members and bases; of functions the compiled code, the defaults and what they enclose. Not compared:
    what code reads from global variables, the inside of modules (by name and version only), cached properties, and
    what an object keeps even from `copy`. Another version of Python compiles to another hash.

    >>> fingerprint(1.0, [np.zeros(2)]) == fingerprint(1.0, [np.zeros(2)]) != fingerprint(1.0, [np.zeros(3)])
    True
    """
    walk = _Walk()
    for part in parts:
        walk.add(part)
    return walk.hash.hexdigest()


Part = dict[str, Any]  # "is": the fingerprint; "kind"; "text", where it is short; "pieces": the parts of this part


def named_parts(parts: Mapping[str, Any]) -> dict[str, Part]:
    """Return, as JSON can keep it, the fingerprint ("is") of every part, and what a message can name it by.

    Numbers, texts and tuples of them have a text, objects of fields their pieces. The version of Python is a part too,
    since code has another fingerprint in another one.

    >>> named_parts({"scale": 0.1})["scale"]["text"]
    '0.1'
    """
    parts = {**parts, "python": "{}.{}".format(*sys.version_info)}
    return {name: _part(part, _DEPTH) for name, part in parts.items()}


def _part(part: Any, depth: int) -> Part:
    found: Part = {"is": fingerprint(part), "kind": _kind(part)} | _text(part)
    pieces = _named_pieces(part) if depth and "text" not in found else {}
    if 0 < len(pieces) <= _MOST_PIECES:
        found["pieces"] = {name: _part(piece, depth - 1) for name, piece in pieces.items()}
    return found


def _kind(part: Any) -> str:
    """Return the name of a function, a class, or the class of an object, and how an array or a text begins."""
    if _has_bytes(part) and part.ndim:
        begins = ", ".join(map(str, to_host(part).ravel()[:_SHOWN].tolist()))
        return f"{part.dtype}{part.shape} [{begins}{', ...' if part.size > _SHOWN else ''}]"
    if isinstance(part, str):
        return f"{part[:_BEGINNING]!r}..."
    named = part if isinstance(part, type | FunctionType) else type(part)
    return named.__qualname__.rpartition(".<locals>.")[2]


def _has_bytes(part: Any) -> bool:
    """Tell whether a part is an array of floats; a number with an exponent of its own is an object with two of them."""
    return is_array(part) and not hasattr(part, "mantissa")


def _named_pieces(part: Any) -> dict[str, Any]:
    """Return by their names the fields, the entries of a container, or the attributes of another object."""
    if is_dataclass(part) and not isinstance(part, type):
        return {f".{one.name}": getattr(part, one.name, None) for one in fields(part)}
    if isinstance(part, tuple) and hasattr(part, "_asdict"):
        return {f".{name}": piece for name, piece in part._asdict().items()}
    if isinstance(part, dict):
        return {f"[{name!r}]": piece for name, piece in part.items()}
    if isinstance(part, list | tuple):
        return {f"[{k}]": piece for k, piece in enumerate(part)}
    if _has_bytes(part) or isinstance(part, type | FunctionType | ModuleType):
        return {}
    attributes = getattr(part, "__dict__", {})
    return {f".{name}": attributes[name] for name in sorted(attributes) if not is_cached(type(part), name)}


def _text(part: Any) -> dict[str, str]:
    if _has_bytes(part) and part.ndim == 0:
        part = to_host(part)
    elif not isinstance(part, (*_PLAIN, np.generic)) and not (isinstance(part, tuple) and all(map(_text, part))):
        return {}
    return {"text": text} if len(text := repr(part)) <= _LONGEST_TEXT else {}


Difference = tuple[str | None, str | None]


def differing_parts(saved: Any, mine: Mapping[str, Part]) -> dict[str, Difference]:
    """Return the parts that differ from saved ones: what is there and what is here, None without the part.

    Of a part with pieces it is the first pieces that differ; empty where nothing but numbers or code differs.

    >>> differing_parts(named_parts({"scale": 0.1, "task": len}), named_parts({"scale": 0.2, "task": len}))
    {'scale': ('0.1', '0.2')}
    """
    saved = saved if isinstance(saved, dict) else {}
    found = {name: part for name, part in saved.items() if isinstance(part, dict)}
    differing = [x for x in dict.fromkeys((*mine, *found)) if found.get(x, {}).get("is") != mine.get(x, {}).get("is")]
    return {x: _contrast(found.get(x), mine.get(x)) for x in differing}


def _contrast(there: Part | None, here: Part | None) -> Difference:
    """Return what tells two parts apart, in as few words as do."""
    if there is None or here is None:
        return None if there is None else _shown(there), None if here is None else _shown(here)
    pairs = list(_differing_pieces("", there, here))
    if [path for path, _, _ in pairs] == [""]:
        _, first, second = pairs[0]
        return ("", "") if first == second else (first, second)
    shown = pairs[:_SHOWN]
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    sides = [", ".join(f"{pair[0].removeprefix('.')} = {pair[side]}" for pair in shown) + more for side in (1, 2)]
    return (sides[0], sides[1])


def _differing_pieces(path: str, there: Part, here: Part) -> Iterator[tuple[str, str, str]]:
    """Yield the path of each innermost piece that differs, and what it is there and here."""
    mine, others = here.get("pieces", {}), there.get("pieces", {})
    same = isinstance(others, dict) and set(mine) == set(others) and there.get("kind") == here.get("kind")
    if mine and same and all(isinstance(piece, dict) for piece in others.values()):
        for name, piece in mine.items():
            if piece["is"] != others[name].get("is"):
                yield from _differing_pieces(path + name, others[name], piece)
    else:
        first, second = _shown(there), _shown(here)
        yield path, first, f"another {second}" if path and first == second else second


def _shown(part: Part) -> str:
    return str(part.get("text") or part.get("kind") or "")


def told(name: str, there: str | None, here: str | None) -> str:
    """Say of a part what it is there and here, as `differing_parts` returns it."""
    if there is None or here is None:
        return f"{name}, which is {'here' if there is None else 'there'} alone"
    return f"{name} {there} there, {here} here" if there or here else f"{name}, of other numbers or code"


def check_changed(where: str, changed: Any, parts: Mapping[str, Any], changeable: Sequence[str]) -> None:
    """Raise TypeError unless `changed` is a tuple of names, ValueError unless each is one of the `changeable` parts."""
    if not isinstance(changed, tuple) or not all(isinstance(name, str) for name in changed):
        bad_type(where, "changed", repr(changed), "a tuple of names of settings", "Write ('scale',) for a single one.")
    known = [name for name in parts if _is_under(name, changeable)]
    for name in changed:
        if name not in changeable and name not in known:
            expected = "a setting that does not change what the checkpoint holds"
            bad_value(where, "changed", repr(name), expected, nearest(name, list(dict.fromkeys((*changeable, *known)))))


def refuse_other_run(
    where: str, path: Any, differing: Mapping[str, Difference], changed: Any, changeable: Sequence[str]
) -> None:
    """Raise ValueError, which names what differs, unless all parts that differ are under those that were `changed`."""
    others = [name for name in differing if not _is_under(name, changed)]
    if not others:
        return
    came = f"{path}, of another run ({'; '.join(told(name, *differing[name]) for name in others)})"
    remedy = "Remove the file to start anew, or give another one."
    if all(_is_under(name, changeable) for name in others):
        remedy += f" With changed={(*changed, *others)!r} the run goes on with the new ones."
    bad_value(where, "checkpoint", came, "one of the same parts and settings", remedy)


def _is_under(name: str, names: Sequence[str]) -> bool:
    """Tell whether a part, such as "recipe.window", is among the names, or a piece of one of them ("recipe")."""
    return any(name == one or name.startswith(f"{one}.") for one in names)


class _Walk:
    """A walk over what objects are made of; classes and functions are entered once, cycles never twice."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self._entered: dict[int, tuple[int, Any]] = {}  # with the object, so that its id stays its own

    def add(self, part: Any, above: tuple[int, ...] = ()) -> None:
        self._say(type(part).__qualname__)
        if isinstance(part, _PLAIN):
            self._say(repr(part))
        elif isinstance(part, ModuleType):
            self._say(f"{part.__name__} {getattr(part, '__version__', '')}")
        elif _has_bytes(part) or isinstance(part, np.generic):
            self._add_array(to_host(part), above)
        elif isinstance(part, type | FunctionType) and id(part) in self._entered:
            self._say(f"number {self._entered[id(part)][0]}")
        elif id(part) not in above:
            if isinstance(part, type | FunctionType):
                self._entered[id(part)] = len(self._entered), part
            for piece in _pieces(part):
                self.add(piece, (*above, id(part)))

    def _add_array(self, array: Any, above: tuple[int, ...]) -> None:
        self._say(f"{array.dtype}{array.shape}")
        if array.dtype.hasobject:  # its bytes are addresses
            self.add(array.tolist(), above)
        else:
            self.hash.update(np.ascontiguousarray(array).tobytes())

    def _say(self, text: str) -> None:
        self.hash.update(f"{len(text)} {text}".encode())


def _pieces(part: Any) -> list[Any]:
    """Return what `part` consists of, in an order that every process finds again."""
    kind = type(part)
    if kind in (tuple, list):
        return [len(part), *part]
    if kind is dict:
        return [len(part), *(x for key in sorted(part, key=fingerprint) for x in (key, part[key]))]
    if kind in (set, frozenset):
        return sorted(map(fingerprint, part))
    return _pieces_of_class(part) if isinstance(part, type) else _code_of(part) or [kind, *_state(part)]


def _code_of(part: Any) -> list[Any]:
    """Return what a function consists of, however it is wrapped; nothing for what is no function."""
    if isinstance(part, CodeType):
        return [part.co_code, part.co_names, part.co_consts]
    if isinstance(part, FunctionType):
        enclosed = [cell.cell_contents for cell in part.__closure__ or () if cell != CellType()]
        return [part.__code__, part.__defaults__, part.__kwdefaults__, enclosed]
    # a property's, functools' and static methods', numba's
    inner = (getattr(part, name, None) for name in ("fget", "__wrapped__", "py_func"))
    return [one for one in inner if isinstance(one, FunctionType)]


def _pieces_of_class(kind: type) -> list[Any]:
    if kind.__module__ in ("builtins", "abc", "typing"):
        return [kind.__qualname__]
    members = {name: member for name, member in vars(kind).items() if not name.startswith("__") or name == "__call__"}
    return [kind.__qualname__, members, kind.__bases__]


def _state(part: Any) -> list[Any]:
    """Return the data of an object as `copy` would take it: attributes, slots, or what a class in C gives."""
    registered = copyreg.dispatch_table.get(type(part))
    try:
        reduced = part.__reduce_ex__(4) if registered is None else registered(part)
    except Exception:  # a lock, a stream: nothing that a copy could have either
        return []
    if isinstance(reduced, str):  # the name of a global
        return [reduced]
    arguments, state, *items = (*reduced[1:5], None, None, None)[:4]
    if isinstance(state, tuple) and len(state) == 2:  # of attributes and slots
        state = tuple(_without_cached(type(part), one) for one in state)
    return [arguments, _without_cached(type(part), state), *(list(item) for item in items if item is not None)]


def _without_cached(kind: type, state: Any) -> Any:
    return {name: x for name, x in state.items() if not is_cached(kind, name)} if isinstance(state, dict) else state


def is_cached(kind: type, name: str) -> bool:
    """Tell whether an attribute is a cached property of the class: what was computed from the others, once asked."""
    return any(isinstance(vars(base).get(name), cached_property) for base in kind.__mro__)
