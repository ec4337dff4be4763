"""The command `metagrad`: meta-train an optimizer from a config, evaluate a trained one, diagnose its meta-gradient."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits

from metagrad import files
from metagrad.diagnosis import diagnose
from metagrad.errors import bad_value
from metagrad.optimizers import Unconstrained
from metagrad.training.builders import numbers_of
from metagrad.training.config import known_keys, read_config, setup
from metagrad.training.loop import NonFiniteError
from metagrad.training.trained import Trained, load_trained, save_trained
from metagrad.training.trainer import Trainer

_INTERRUPTED = 130
_LARGEST_TASK = 2**26  # numbers; half a GiB, of what a file asks for by itself
_MOST_STEPS = 10**6


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if it did what was asked, 1 if it could not, 2 for bad arguments, 130 if it was interrupted."""
    args = _parser().parse_args(arguments)
    try:
        with threadpool_limits(limits=1):  # the last bits depend on it, and small products are slower with more
            return int(args.command(args))
    except (ValueError, TypeError, NonFiniteError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; what was saved before stays.", file=sys.stderr)
    except MemoryError as error:
        print(f"error: not enough memory ({error}); take fewer steps, tasks or units.", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return _INTERRUPTED
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="metagrad", description="Meta-gradients of optimizers.")
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser(
        "meta-train",
        help="meta-train an optimizer; an interrupted run goes on where it was",
        epilog="What a config may say, with the defaults; help(metagrad.training.Recipe) explains [training]:\n\n"
        + known_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("config", type=Path, help="a TOML file")
    train.add_argument("--out", type=Path, help="folder of the run (default: runs/ and the name of the config)")
    train.add_argument(
        "--changed",
        nargs="+",
        default=[],
        metavar="NAME",
        help="settings that may differ from those of the run that goes on, such as outer_phi.eta; the error of a run "
        "that is refused names them",
    )
    train.set_defaults(command=_meta_train)
    evaluate = commands.add_parser("evaluate", help="run a trained optimizer on fresh tasks")
    evaluate.add_argument("optimizer", help="an .npz file of a run, or the name of one that ships")
    evaluate.add_argument(
        "--config",
        type=Path,
        help="a TOML file that says what the optimizer and its tasks are, in place of the config in the .npz file; its "
        "modules are imported, while those that only the .npz file names never are",
    )
    evaluate.add_argument("--tasks", type=_count, default=10, help="draws of fresh tasks (default: 10)")
    evaluate.add_argument("--steps", type=_count, help="steps (default: those of its evaluation)")
    evaluate.add_argument("--seed", type=int, default=1, help="seed of the fresh tasks (default: 1)")
    evaluate.set_defaults(command=_evaluate)
    diagnosis = commands.add_parser("diagnose", help="say what can go wrong with the meta-gradient of a config")
    diagnosis.add_argument("config", type=Path, help="a TOML file, as of meta-train")
    diagnosis.add_argument("--out", type=Path, help="folder of the report (default: runs/ and the name of the config)")
    diagnosis.add_argument("--steps", type=_count, help="steps (default: the horizon of the config)")
    diagnosis.add_argument("--optimizer", help="an .npz file of trained weights, or the name of one that ships")
    diagnosis.set_defaults(command=_diagnose)
    return parser


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected an integer") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}; expected at least 1")
    return value


def _meta_train(args: Any) -> int:
    run = setup(read_config(args.config), args.config.parent)
    folder: Path = args.out or Path("runs") / args.config.stem
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, metrics = folder / "checkpoint.npz", folder / "metrics.jsonl"
    with _Live(run.trainer) as live:
        result = run.trainer.run(
            run.phi,
            checkpoint=checkpoint,
            metrics=metrics,
            progress=live.show,
            config=run.config,
            changed=tuple(args.changed),
        )
    if not np.isfinite(result.value):
        raise NonFiniteError(f"no evaluation was a finite number; see {metrics}. No optimizer was saved.")
    about = {"evaluation": result.value, "episodes": result.episodes, "select": result.measured}
    save_trained(folder / "optimizer.npz", run.trainer.optimizer, result.phi, config=run.config, about=about)
    print(f"{result.episodes} episodes; best {result.measured} {result.value:.6g}: {folder / 'optimizer.npz'}")
    _say_hyper_parameters(run.trainer.optimizer, result.phi)
    return 0


def _diagnose(args: Any) -> int:
    """Print what was found, and write diagnosis.json and diagnosis.png together."""
    run = setup(read_config(args.config), args.config.parent)
    trainer, phi = run.trainer, run.phi
    if args.optimizer is not None:
        phi = load_trained(args.optimizer, template=(trainer.optimizer, phi)).phi
    task, steps = trainer.tasks(trainer.seed), args.steps or trainer.recipe.horizon
    found = diagnose(task, trainer.optimizer, trainer.objective, phi, steps=steps, seed=trainer.seed)
    print(found)
    folder: Path = args.out or Path("runs") / args.config.stem
    folder.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(found.as_dict(), indent=1, allow_nan=False)
    files.write_together({folder / "diagnosis.json": numbers.encode(), folder / "diagnosis.png": found.image()})
    print(f"{folder / 'diagnosis.json'}, {folder / 'diagnosis.png'}")
    return 0


def _say_hyper_parameters(rule: Any, phi: Any) -> None:
    """Print the hyper-parameters of a hand-designed rule; a learned one has none."""
    if not isinstance(rule, Unconstrained):
        return
    try:
        found = rule.phi(rule.Phi(*map(float, phi)))
    except ValueError as error:  # float64 rounds one to its bound; the coordinate is as good as any
        print(error)
    else:
        print(", ".join(f"{name} = {x:.6g}" for name, x in found._asdict().items()))


class _Live:
    """A bar with the objective, the norm of the meta-gradient, and how many tasks had a status, as training goes on."""

    def __init__(self, trainer: Trainer) -> None:
        columns = (TextColumn("episode"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._progress.add_task("", total=trainer.recipe.episodes)
        self._said = ""

    def __enter__(self) -> _Live:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, row: dict[str, Any]) -> None:
        """Show one episode; evaluations stay in view."""
        trouble = sum(row["status"].values()) - row["status"].get("OK", 0)
        norm = row["log2_gradient_norm"][-1] * np.log10(2)
        text = f"{row['measured']['objective']} {row['objective'][-1]:.4g}  log10|grad| {norm:.2f}"
        text += f"  clipped {row['clipped']}  status {trouble}"
        if "evaluation" in row:
            self._said = f"  {row['measured']['evaluation']} {row['evaluation']:.5g}, best {row['best']:.5g}"
            if not self._progress.console.is_terminal:
                print(f"episode {row['episode'] + 1}: {text}{self._said}", file=sys.stderr)
        self._progress.update(self._task, completed=row["episode"] + 1, description=text + self._said)


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


def _evaluate(args: Any) -> int:
    trained, trainer = _trained(args)
    steps = args.steps or trainer.recipe.evaluation_steps
    curves = trainer.evaluation_curves(trained.phi, args.tasks, steps, stream="fresh")
    count = curves.shape[1]
    factor = stdtrit(max(count - 1, 1), 0.975) / np.sqrt(count)  # Student's t
    table = Table("step", f"mean {trainer.measured['measure']}", "median", "95 % interval of the mean", "mean log10")
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
    Console().print(table)
    _say_hyper_parameters(trained.optimizer, trained.phi)
    bad = int(np.sum(~np.isfinite(curves[-1])))
    print(f"{count} fresh tasks, {bad} of them not finite at step {steps}.")
    digits = trainer.evaluation_digits(trained.phi, steps, stream="fresh")
    least = f"median {np.median(digits):.1f}, least {digits.min():.1f}"
    print(f"Digits that rounding leaves of the numbers at step {steps}, on one draw of tasks: {least}.")
    return 1 if bad else 0


if __name__ == "__main__":  # python -m metagrad.cli is python -m metagrad
    sys.exit(main())
