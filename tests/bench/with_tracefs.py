"""`with_tracefs.py COMMAND...`: runs a command with tracefs mounted, in its own mount namespace; the pid stays.

BCC's tools and bpftrace look tracepoints up there. perfcheck does not, so it needs no tracefs.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

CLONE_NEWNS: Final = 0x00020000
MS_PRIVATE_REC: Final = 1 << 18 | 1 << 14
PLACE: Final = "/sys/kernel/tracing"


def main(argv: list[str]) -> None:
    """Mount it where it is missing and become the command."""
    if not os.path.isdir(f"{PLACE}/events"):  # noqa: PTH112 - nothing else of pathlib is needed
        libc = ctypes.CDLL(None, use_errno=True)
        for failed in (
            libc.unshare(CLONE_NEWNS),
            libc.mount(None, b"/", None, ctypes.c_ulong(MS_PRIVATE_REC), None),
            libc.mount(b"tracefs", PLACE.encode(), b"tracefs", ctypes.c_ulong(0), None),
        ):
            if failed:
                raise SystemExit(f"tracefs cannot be mounted on {PLACE}: {os.strerror(ctypes.get_errno())}")
    os.execvp(argv[0], argv)  # noqa: S606 - an argv list, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
