"""`metagrad evaluate`: run a trained optimizer on fresh tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.special import stdtrit

from metagrad.cli.said import print_table, say_hyper_parameters
from metagrad.cli.words import examples, whole
from metagrad.errors import bad_value
from metagrad.training.builders import numbers_of
from metagrad.training.config import read_config, setup
from metagrad.training.trained import Trained, load_trained, trained_names
from metagrad.training.trainer import Trainer

_LARGEST_TASK = 2**26  # numbers; half a GiB, of what a file asks for by itself
_MOST_STEPS = 10**6
HELP = "run a trained optimizer on fresh tasks"
_EXAMPLES = """
metagrad evaluate lstm_quadratics
metagrad evaluate runs/adam_quadratics --tasks 50
metagrad evaluate runs/mine/optimizer.npz --config mine.toml --steps 1000
"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "evaluate",
        description="Run a trained optimizer on tasks that it never saw: means, medians and 95 % intervals by steps.",
        epilog=examples(_EXAMPLES) + "\n\nthose that ship:\n  " + "\n  ".join(trained_names()),
    )
    parser.add_argument("optimizer", help="a run's folder or .npz file, or the name of one that ships")
    parser.add_argument(
        "--config",
        type=Path,
        help="a TOML file that says what the optimizer and its tasks are, in place of the config in the .npz file; its "
        "modules are imported, while those that only the .npz file names never are",
    )
    parser.add_argument("--tasks", type=whole(1), default=10, help="draws of fresh tasks (default: 10)")
    parser.add_argument("--steps", type=whole(1), help="steps (default: those of its evaluation)")
    parser.add_argument("--seed", type=whole(0), default=1, help="seed of the fresh tasks (default: 1)")
    parser.set_defaults(command=run, parser=parser)


def run(args: Any) -> int:
    """Print the table, the hyper-parameters, and how many digits the numbers have."""
    if Path(args.optimizer).is_dir():
        args.optimizer = str(Path(args.optimizer) / "optimizer.npz")
    trained, trainer = _trained(args)
    steps = args.steps or trainer.recipe.evaluation_steps
    curves = trainer.evaluation_curves(trained.phi, args.tasks, steps, stream="fresh")
    count = curves.shape[1]
    factor = stdtrit(max(count - 1, 1), 0.975) / np.sqrt(count)  # Student's t
    table = Table()
    for name in ("step", f"mean {trainer.measured['measure']}", "median", "95 % interval of the mean", "mean log10"):
        table.add_column(name, overflow="fold")  # a number that is cut would be another one
    for t in sorted({0, *np.unique(np.geomspace(1, steps, 7).astype(int))}):
        with np.errstate(all="ignore"):
            half = factor * np.std(curves[t], ddof=1) if count > 1 else np.nan
            mean, log = np.mean(curves[t]), np.mean(np.log10(curves[t]))
        table.add_row(
            str(t),
            f"{mean:.6g}",
            f"{np.median(curves[t]):.6g}",
            f"{mean - half:.6g} .. {mean + half:.6g}",
            f"{log:.4f}",
        )
    print_table(table)
    say_hyper_parameters(trained.optimizer, trained.phi)
    bad = int(np.sum(~np.isfinite(curves[-1])))
    print(f"{count} fresh tasks, {bad} of them not finite at step {steps}.")
    digits = trainer.evaluation_digits(trained.phi, steps, stream="fresh")
    least = f"median {np.median(digits):.1f}, least {digits.min():.1f}"
    print(f"Digits that rounding leaves at step {steps}, on one draw: {least}.")
    return 1 if bad else 0


def _trained(args: Any) -> tuple[Trained, Trainer]:
    """Return the optimizer to evaluate, and the run that has its tasks."""
    if args.config is None:
        trained = load_trained(args.optimizer)
        config = {**(trained.config or {}), "seed": args.seed}
        trainer = setup(config).trainer
        _check_size(args, numbers_of(config["task"]), trainer.recipe.evaluation_steps)
        return trained, trainer
    config = read_config(args.config)
    run = setup({**config, "seed": args.seed}, args.config.parent)
    trained = load_trained(args.optimizer, template=(run.trainer.optimizer, run.phi))
    there, here = (None if x is None else x.get("optimizer") for x in (trained.config, config))
    if there not in (None, here):
        came = f"{args.config}, whose [optimizer] is {here}"
        bad_value("evaluate", "--config", came, f"that of {args.optimizer}, {there}")
    return trained, run.trainer


def _check_size(args: Any, numbers: int, steps: int) -> None:
    """Raise ValueError where a file, which may come from a stranger, asks for tasks or steps without end."""
    came = f"{args.optimizer}, whose config asks for"
    if numbers > _LARGEST_TASK:
        remedy = "If you want them, say which tasks with --config."
        bad_value("evaluate", "optimizer", f"{came} tasks of {numbers} numbers", f"at most {_LARGEST_TASK}", remedy)
    if args.steps is None and steps > _MOST_STEPS:
        bad_value(
            "evaluate", "optimizer", f"{came} {steps} steps", f"at most {_MOST_STEPS}", "Say how many with --steps."
        )
