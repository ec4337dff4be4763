"""The command: `python -m tests.mutants --count 20 --seed 0`; exit code 1 where a fault survives."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from itertools import islice
from pathlib import Path

from tests.mutants.hunt import ROOT, Hunted, copy_project, failing, hunt
from tests.mutants.mutations import candidates


def drawn(only: str, count: int, seed: int) -> list[tuple[str, object]]:
    """Return faults, each of another place, from the files whose path starts with `only`; a file counts by its size."""
    every = []
    for path in sorted((ROOT / "metagrad").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.startswith(only):
            source = path.read_text(encoding="utf-8")
            every += [(name, fault, source) for fault in candidates(source)]
    random.Random(seed).shuffle(every)
    fine = ((name, fault) for name, fault, source in every if fault.compiles(source))
    return list(islice(fine, count))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="how many faults (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    parser.add_argument("--only", default="metagrad", help="files whose path starts so (default: metagrad)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of the tests (default: 2)")
    parser.add_argument("--list", action="store_true", help="show the faults, and run nothing")
    args = parser.parse_args(arguments)
    chosen = drawn(args.only, args.count, args.seed)
    if not chosen:
        print(f"error: --only {args.only!r} names no file with a fault; expected a path such as metagrad/unroll.")
        return 2
    if args.list:
        print(*(f"{path}: {fault}" for path, fault in chosen), sep="\n")
        return 0
    survivors: list[Hunted] = []
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder))
        if failing(project, args.jobs):
            print("error: tests fail without any fault; mend them first.")
            return 2
        for k, (path, fault) in enumerate(chosen):
            found = hunt(project, path, fault, args.jobs)
            print(f"{k + 1}/{len(chosen)} {path}, {fault}: {found.by or 'SURVIVES'}", flush=True)
            survivors += [found] if found.by is None else []
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults are noticed (seed {args.seed})")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
