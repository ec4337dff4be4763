"""`metagrad diagnose`: say what can go wrong with the meta-gradient of a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metagrad import files
from metagrad.cli.said import say
from metagrad.cli.words import examples, whole
from metagrad.diagnosis import diagnose
from metagrad.training.config import read_config, setup
from metagrad.training.trained import load_trained

HELP = "say what can go wrong with a meta-gradient"
_EXAMPLES = """
metagrad diagnose configs/adam_quadratics.toml
metagrad diagnose configs/lstm_quadratics.toml --optimizer lstm_quadratics
metagrad diagnose mine.toml --steps 1000
"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "diagnose",
        description="Say what can go wrong with the meta-gradient of a config: how fast numbers grow, at which horizon "
        "floats break, chaos, digits, cost; the serious things first, each with what to change.",
        epilog=examples(_EXAMPLES),
    )
    parser.add_argument("config", type=Path, help="a TOML file, as of meta-train")
    parser.add_argument("--out", type=Path, help="folder of the report (default: runs/ and the name of the config)")
    parser.add_argument("--steps", type=whole(1), help="steps (default: the horizon of the config)")
    parser.add_argument("--optimizer", help="an .npz file of trained weights, or the name of one that ships")
    parser.set_defaults(command=run, parser=parser)


def run(args: Any) -> int:
    """Print what was found, and write diagnosis.json and diagnosis.png together."""
    made = setup(read_config(args.config), args.config.parent)
    trainer, phi = made.trainer, made.phi
    if args.optimizer is not None:
        phi = load_trained(args.optimizer, template=(trainer.optimizer, phi)).phi
    task, steps = trainer.tasks(trainer.seed), args.steps or trainer.recipe.horizon
    found = diagnose(task, trainer.optimizer, trainer.objective, phi, steps=steps, seed=trainer.seed)
    say(str(found))
    folder: Path = args.out or Path("runs") / args.config.stem
    folder.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(found.as_dict(), indent=1, allow_nan=False)
    files.write_together({folder / "diagnosis.json": numbers.encode(), folder / "diagnosis.png": found.image()})
    print(f"{folder / 'diagnosis.json'}, {folder / 'diagnosis.png'}")
    return 0
