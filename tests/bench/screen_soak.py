"""How the screen of `perfctl top` bears hours: memory and CPU with connections that come and go, in real time.

    python tests/bench/screen_soak.py [--minutes 30] [--flows 1000] [--churn 50]

A line each minute. The ring of intervals fills first (some three minutes with 1,000 connections); from then on, memory
must stay. Every ten seconds keys are pressed as a user does: sort, group, look into a connection, step back in time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from screen_load import in_terminal, screen_argv

KEYS: Final = ("s", "g", "\r", "\x1b", "[", "{", "\x1b[F", "/nginx\r", "\x1b", "r", "?", "\x1b", "a", "\x1b", " ", " ")
FULL_MINUTES: Final = 5
"""From here on, nothing grows any more."""
MOST_GROWTH: Final = 1.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--churn", type=int, default=50)
    args = parser.parse_args()
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        argv = screen_argv(Path(folder) / "times", flows=args.flows, churn=args.churn)
        with in_terminal(argv, (160, 50)) as terminal:
            time.sleep(5)
            begun, used, pressed = time.monotonic(), terminal.cpu_s(), 0
            while time.monotonic() - begun < 60 * args.minutes:
                assert terminal.process.poll() is None, "the screen has ended"
                terminal.press(KEYS[pressed % len(KEYS)])
                pressed += 1
                time.sleep(10)
                if time.monotonic() - begun >= 60 * (len(memory) + 1):
                    now = terminal.cpu_s()
                    memory.append(terminal.resident_mb())
                    print(f"minute {len(memory):3}  {memory[-1]:7.1f} MB  {100 * (now - used) / 60:5.2f} % of one CPU",
                          flush=True)  # fmt: skip
                    used = now
            terminal.press("\x1b\x1b")
            time.sleep(1)
            terminal.press("q")
            assert terminal.process.wait(20) == 0
    if len(memory) > FULL_MINUTES:
        growth = memory[-1] / memory[FULL_MINUTES - 1]
        print(f"memory at the end / at minute {FULL_MINUTES}: {growth:.3f}")
        return int(growth > MOST_GROWTH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
