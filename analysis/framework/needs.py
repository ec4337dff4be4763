"""Data that an experiment needs and the project does not carry: a folder of the user's, who says where it is.

An experiment names them by its member `needs`, "omniglot" say. The folder is what `--data omniglot=FOLDER` says, or the
environment variable METAGRAD_OMNIGLOT; the option sets the variable, so that workers and children have it too. Without
it the experiment is not run, and that is said: it does not fail, and no other data take the place of these. To add a
data set, give it a line in `KNOWN`.
"""

from __future__ import annotations

import argparse
import os
from functools import cache
from pathlib import Path

from metagrad import files
from metagrad.errors import nearest

KNOWN = {"omniglot": "*.zip"}  # which files of the folder are the data
PAGE = "docs/running.md"


def variable(name: str) -> str:
    """Return the environment variable that names the folder of a data set.

    >>> variable("omniglot")
    'METAGRAD_OMNIGLOT'
    """
    return f"METAGRAD_{name.upper()}"


def folder(name: str) -> Path | None:
    """Return the folder of a data set, or None where the user named none."""
    given = os.environ.get(variable(name), "")
    return Path(given) if given else None


def lacking(experiment: str, name: str) -> str:
    """Say that an experiment lacks its data set and how to name it; an empty text where there is nothing to say."""
    if not name or folder(name) is not None:
        return ""
    return (
        f"{experiment} needs the data set {name}, which is not carried here: "
        f"--data {name}=FOLDER or {variable(name)}, see {PAGE}"
    )


def parts_of(name: str) -> dict[str, str]:
    """Return the digest of a data set, by the name that a result keeps it under; nothing where there is no folder."""
    place = folder(name) if name else None
    return {} if place is None else {label(name): _digest(place, KNOWN[name])}


def label(name: str) -> str:
    """Return the name under which a result keeps the digest of a data set."""
    return f"data.{name}"


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the option --data, which may be given several times."""
    text = f"where a data set is that the project does not carry, {', '.join(KNOWN)}: NAME=FOLDER"
    command.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER", help=text)


def take(args: argparse.Namespace) -> None:
    """Keep what --data says for this process and those it starts; ValueError says what is wrong with it."""
    for text in getattr(args, "data", []):
        name, sign, place = text.partition("=")
        if not sign or not place:
            raise ValueError(f"--data is {text!r}; expected NAME=FOLDER, such as omniglot=FOLDER.")
        if name not in KNOWN:
            raise ValueError(f"--data: there is no data set {name!r}. {nearest(name, list(KNOWN))}")
        if not Path(place).is_dir():
            raise ValueError(f"--data: {place} is no folder; expected the one with the files of {name}.")
        os.environ[variable(name)] = str(Path(place).resolve())


@cache
def _digest(place: Path, pattern: str) -> str:
    """Return one hash of the names and the contents of the files."""
    found = {path.name: files.sha256(path.read_bytes()) for path in sorted(place.glob(pattern))}
    return files.sha256(repr(found).encode())[:32]
