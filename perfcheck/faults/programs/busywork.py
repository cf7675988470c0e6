"""Work that keeps CPUs busy as real jobs do: `busywork.py compile --jobs 4`, `fork`, `kernel` or `compress`."""

from __future__ import annotations

import argparse
import os
import subprocess
import time
import zlib

SOURCE = "\n".join(
    f"int f{n}(int*a,int b){{for(int i=0;i<b;i++)a[i]=a[i]*{n}+a[(i*{n})%b];return a[0];}}" for n in range(1, 90)
)


def main() -> None:
    """Start the jobs and wait for their end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    children = []
    for _ in range(options.jobs):
        child = os.fork()
        if child == 0:
            while time.monotonic() < end:
                KINDS[options.kind](end)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def compile_once(end: float) -> None:
    """Run the compiler, as a build does."""
    made = subprocess.Popen(["gcc", "-x", "c", "-O2", "-S", "-o", "/dev/null", "-"], stdin=subprocess.PIPE)
    try:
        made.communicate(SOURCE.encode(), max(0.01, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        made.terminate()
        made.wait()


def fork_many(_: float) -> None:
    """Make processes that end at once, as shell scripts do."""
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def kernel_work(_: float) -> None:
    """Have the kernel compute: random numbers."""
    os.getrandom(1 << 22)


def compress(_: float) -> None:
    """Compress, as a backup does."""
    zlib.compress(bytes(range(256)) * 4096, 6)


KINDS = {"compile": compile_once, "fork": fork_many, "kernel": kernel_work, "compress": compress}


if __name__ == "__main__":
    main()
