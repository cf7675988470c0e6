"""Run commands at times: `later.py 1.2 ip route replace ... then 0.5 nft add rule ...`.

Each command is preceded by the seconds to wait for. `--repeat-until 4` runs all of them again and again until then.
A command that fails ends it with that command's message.
"""

from __future__ import annotations

import subprocess
import sys
import time

BETWEEN = "then"


def main() -> None:
    """Wait and run, one command after the other."""
    words = sys.argv[1:]
    until = 0.0
    if words[:1] == ["--repeat-until"]:
        until, words = float(words[1]), words[2:]
    steps = split(words)
    begun = time.monotonic()
    while True:
        for wait_s, command in steps:
            time.sleep(wait_s)
            subprocess.run(command, check=True, timeout=5)
        if time.monotonic() - begun >= until:
            return


def split(words: list[str]) -> list[tuple[float, list[str]]]:
    """Return each command with the seconds before it."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == BETWEEN:
            parts.append([])
        else:
            parts[-1].append(word)
    return [(float(part[0]), part[1:]) for part in parts]


if __name__ == "__main__":
    main()
