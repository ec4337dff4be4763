"""What every subcommand shares: the parser, one thread, and an error in one line in place of a traceback."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS

from threadpoolctl import threadpool_limits

import metagrad
from metagrad.cli import compare, diagnose, evaluate, meta_train, plot
from metagrad.cli.words import Parser, examples
from metagrad.training.loop import NonFiniteError

_INTERRUPTED = 130
_EXAMPLES = """
metagrad meta-train configs/adam_quadratics.toml
metagrad evaluate runs/adam_quadratics/optimizer.npz
metagrad diagnose configs/adam_quadratics.toml
metagrad plot runs/adam_quadratics --out curves.png
metagrad compare runs/*
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if it did what was asked, 1 if it could not, 2 for bad arguments, 130 if it was interrupted."""
    args = parser().read(arguments)
    try:
        with threadpool_limits(limits=1):  # the last bits depend on it, and small products are slower with more
            code = int(args.command(args))
            sys.stdout.flush()
            return code
    except (ValueError, TypeError, NonFiniteError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:  # whoever reads has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; what was saved before stays.", file=sys.stderr)
    except MemoryError as error:
        print(f"error: not enough memory ({error}); take fewer steps, tasks or units.", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return _INTERRUPTED
    return 1


def parser() -> Parser:
    """Return the parser of the command, with all subcommands."""
    known = {"meta-train": meta_train, "evaluate": evaluate, "diagnose": diagnose, "plot": plot, "compare": compare}
    found = Parser(
        prog="metagrad",
        usage="metagrad [-h] [--version] COMMAND ...",
        description="Meta-train optimizers by meta-gradients, and look at what came of it.",
        epilog=examples(_EXAMPLES) + "\n\nmetagrad COMMAND --help says more of each.",
    )
    found.add_argument(
        "--version", action="version", version=f"metagrad {metagrad.__version__}", help="say the version"
    )
    listed = "\n".join(f"{name:12}{one.HELP}" for name, one in known.items())
    settings = {"metavar": "COMMAND", "title": "commands", "description": listed, "help": SUPPRESS}
    commands = found.add_subparsers(required=True, parser_class=Parser, prog="metagrad", **settings)
    for one in known.values():
        one.add(commands)
    return found
