"""`python -m batchup` is the command line."""

import sys

from batchup.cli import main

if __name__ == "__main__":
    sys.exit(main())
