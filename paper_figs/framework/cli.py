"""The command line of the figures."""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from paper_figs.framework import results
from paper_figs.framework.report import write_report
from paper_figs.framework.style import save, styled

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m paper_figs`."""
    top = argparse.ArgumentParser(prog="python -m paper_figs", description="Figures, drawn from saved results.")
    commands = top.add_subparsers(dest="command", required=True)
    texts = {
        "list": "names and captions",
        "plot": "draw from saved results (no engine, no GPU)",
        "report": "draw, and write one self-contained page",
        "all": "compute what is missing, draw, write the page",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--only", default="", help="comma-separated names (default: all)")
        command.add_argument("--preset", default="quick", choices=("quick", "default", "paper"), help="size")
        command.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: results)")
        if name == "all":
            command.add_argument("--device", default="auto", help="auto, cpu or gpu")
            command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
            command.add_argument("--force", action="store_true", help="compute even what is in the cache")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 a claim fails, 2 bad input, 130 interrupted."""
    args = parser().parse_args(arguments)
    known = results.names()
    names = [name for name in args.only.split(",") if name] or known
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            print(f"error: --only: there is no figure {name!r}. {hint}Known: {', '.join(known)}.", file=sys.stderr)
            return 2
    try:
        return _obey(names, args)
    except results.ResultError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: --out {args.out} cannot be written to ({error.strerror}); choose another folder.", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _obey(names: list[str], args: Any) -> int:
    if args.command == "list":
        for name in names:
            print(f"{name}\n  {results.load_figure(name).title}")
        return 0
    code = _compute(args) if args.command == "all" else 0
    if code not in (0, 1):
        return code
    drawn = [_draw(name, args) for name in names]
    if args.command != "plot":
        page = args.out / "report.html"
        write_report(drawn, page, args.preset, args.seed)
        print(f"report: {page}")
    return max(code, 0 if all(item["sidecar"]["holds"] for item in drawn) else 1)


def _compute(args: Any) -> int:
    command = [sys.executable, "-m", "analysis", "run", "--only", args.only, "--preset", args.preset]
    command += ["--seed", str(args.seed), "--out", str(args.out), "--device", args.device, "--jobs", str(args.jobs)]
    return subprocess.run(command + ["--force"] * args.force, check=False).returncode


def _draw(name: str, args: Any) -> dict[str, Any]:
    module = results.load_figure(name)
    result = results.load_result(name, args.out, args.preset, args.seed)
    stem = args.out / "figures" / name
    with styled():
        save(module.draw(result), stem)
    caption = module.caption(result)
    print(f"{name}: {stem}.png, {stem}.pdf\n  {caption}")
    image = stem.with_suffix(".png")
    about = {"name": name, "title": module.title, "alt": module.alt, "caption": caption}
    return about | {"image": image, "sidecar": result.sidecar}
