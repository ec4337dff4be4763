"""`metagrad plot`: learning curves of one or several runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from metagrad import checks, files
from metagrad.cli.said import among
from metagrad.cli.words import examples
from metagrad.errors import bad_value
from metagrad.training.runs import plot_runs
from metagrad.training.runs.read import WHATS

_KINDS = ["png", "pdf", "svg"]
_WITHOUT_DATE = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}  # the same bytes for the same runs
HELP = "draw the learning curves of runs"
_EXAMPLES = """
metagrad plot runs/adam_quadratics
metagrad plot runs/seed0 runs/seed1 runs/seed2 --out seeds.pdf
metagrad plot runs/* --what objective --scale log
"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "plot",
        description="Draw learning curves over the episodes, also of runs that are under way. Runs that differ in the "
        "seed alone are one line: their mean, with its 95 % interval (Student's t; of the logarithms on a logarithmic "
        "scale), and each seed as a thin line.",
        epilog=examples(_EXAMPLES),
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a folder of meta-train, or a file of metrics (.jsonl)")
    parser.add_argument(
        "--out", type=Path, default=Path("curves.png"), help="a .png, .pdf or .svg file (default: curves.png)"
    )
    parser.add_argument(
        "--what",
        default="evaluation",
        help=f"{', '.join(WHATS[:-1])} or {WHATS[-1]} (log10 of its norm); default: evaluation",
    )
    parser.add_argument("--scale", default="auto", help="log, linear or auto (default: auto)")
    parser.set_defaults(command=run, parser=parser)


def run(args: Any) -> int:
    """Draw, and write the file in one step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = args.out.suffix.removeprefix(".").lower()
    checks.choice("plot", f"--out {args.out}, whose ending", kind, _KINDS)
    if not args.out.parent.is_dir():
        bad_value("plot", "--out", args.out, "a file in a folder that exists", "Make the folder first.")
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = plot_runs(among(args.runs), what=args.what, scale=args.scale, ax=figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160, metadata=_WITHOUT_DATE[kind])
    files.write(args.out, buffer.getvalue())
    for label in axes.get_legend_handles_labels()[1]:
        print(label.replace("\n", " "))
    print(args.out)
    return 0
