"""`python -m perfcheck.cli.perfctl`."""

import sys

from perfcheck.cli.perfctl import main

if __name__ == "__main__":
    sys.exit(main())
