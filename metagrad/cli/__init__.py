"""The command `metagrad`: one file a subcommand; `main` runs it."""

from metagrad.cli.main import main

__all__ = ["main"]
