"""The command line: `perfcheck run`, `ab`, `compare`, `history` and more."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from perfcheck.errors import FileError, PerfcheckError, Stopped


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status of design section 9 and prints errors without tracebacks."""
    from perfcheck.cli.arguments import parse

    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        return int(arguments.command(arguments))
    except Stopped as stop:
        print(f"perfcheck: {stop}; all that the lab made is undone", file=sys.stderr)
        return stop.exit_status
    except PerfcheckError as error:
        print(error if isinstance(error, FileError) else f"perfcheck: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("perfcheck: interrupted; all that the lab made is undone", file=sys.stderr)
        return 3
    except BrokenPipeError:
        # The reader (head, less) went away: not an error of ours, and Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"perfcheck: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
