"""`python -m metagrad`: the command `metagrad`."""

import sys

from metagrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
