"""`python -m metagrad.cli`: the command `metagrad`, as `python -m metagrad` is."""

import sys

from metagrad.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
