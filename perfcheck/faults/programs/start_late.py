"""Begin something later: `start_late.py --after 3 COMMAND [ARGUMENT...]` becomes the command after so many seconds."""

from __future__ import annotations

import argparse
import os
import time


def main() -> None:
    """Wait, and become the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--after", type=float, default=3.0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("which command is to begin later?")
    time.sleep(options.after)
    os.execvp(options.command[0], options.command)  # noqa: S606 - the command line is the caller's own


if __name__ == "__main__":
    main()
