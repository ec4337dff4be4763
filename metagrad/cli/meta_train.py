"""`metagrad meta-train`: meta-train an optimizer from a config."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metagrad.cli.live import Live
from metagrad.cli.said import say_hyper_parameters
from metagrad.cli.words import examples, width
from metagrad.files import read_npz
from metagrad.training.config import known_keys, read_config, setup
from metagrad.training.loop import NonFiniteError
from metagrad.training.runs.read import settings
from metagrad.training.store import FORMAT
from metagrad.training.trained import save_trained

_EXAMPLES = """
metagrad meta-train configs/adam_quadratics.toml
metagrad meta-train mine.toml --out runs/mine-seed0
metagrad meta-train mine.toml --changed outer_phi.eta  # go on with a new one
metagrad plot runs/mine-seed0                          # also while it runs
"""
_CONFIG = "what a config may say, with the defaults (help(metagrad.training.Recipe)\nexplains [training]):\n\n"
HELP = "meta-train an optimizer; an interrupted run goes on"
_DESCRIPTION = (
    "Meta-train an optimizer as a config says, on fresh tasks. An interrupted run goes on where it was, to the same "
    "numbers. The folder of the run gets metrics.jsonl and metrics.csv (a row an episode), checkpoint.npz, and in the "
    "end optimizer.npz, the best on tasks that training never saw."
)


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "meta-train",
        description=_DESCRIPTION,
        epilog=f"{examples(_EXAMPLES)}\n\n{_CONFIG}{known_keys(width() - 1)}",
    )
    parser.add_argument("config", type=Path, help="a TOML file")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/ and the name of the config)")
    parser.add_argument(
        "--changed",
        nargs="+",
        default=[],
        metavar="NAME",
        help="settings that may differ from those of the run that goes on, such as outer_phi.eta; the error of a run "
        "that is refused names them",
    )
    parser.set_defaults(command=run, parser=parser)


def run(args: Any) -> int:
    """Train, and save the best."""
    made = setup(read_config(args.config), args.config.parent)
    folder: Path = args.out or Path("runs") / args.config.stem
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, metrics = folder / "checkpoint.npz", folder / "metrics.jsonl"
    with Live(made.trainer.recipe.episodes) as live, _naming_settings(checkpoint, made.config):
        result = made.trainer.run(
            made.phi,
            checkpoint=checkpoint,
            metrics=metrics,
            progress=live.show,
            config=made.config,
            changed=tuple(args.changed),
        )
    if not np.isfinite(result.value):
        raise NonFiniteError(f"no evaluation was a finite number; see {metrics}. No optimizer was saved.")
    about = {"evaluation": result.value, "episodes": result.episodes, "select": result.measured}
    save_trained(folder / "optimizer.npz", made.trainer.optimizer, result.phi, config=made.config, about=about)
    print(f"{result.episodes} episodes; best {result.measured} {result.value:.6g}: {folder / 'optimizer.npz'}")
    say_hyper_parameters(made.trainer.optimizer, result.phi)
    return 0


@contextmanager
def _naming_settings(checkpoint: Path, config: dict[str, Any]) -> Iterator[None]:
    """Let the error of a run that is refused name the settings as the config names them."""
    try:
        yield
    except ValueError as error:
        differ = _differing(checkpoint, config) if "of another run" in str(error) else ""
        if differ:
            raise ValueError(f"{error} In the config: {differ}.") from None
        raise


def _differing(checkpoint: Path, config: dict[str, Any]) -> str:
    """Say which settings of the config differ from those in the checkpoint, if any do."""
    there = read_npz(checkpoint, "meta-train", formats=(FORMAT,))[1].get("config")
    if not isinstance(there, dict):
        return ""
    first, second = settings(there), settings(config)
    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    names = [name for name in names if name not in ("training.episodes", "training.patience")]  # they always may
    default = "the default"
    return ", ".join(f"{name} = {first.get(name, default)} there, {second.get(name, default)} here" for name in names)
