"""`python -m paper_figs`."""

import sys

from paper_figs.framework.cli import main

if __name__ == "__main__":
    sys.exit(main())
