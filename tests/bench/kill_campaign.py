"""Kill perfcheck at random moments and count what is left: `make kills`.

`perfcheck clean` follows half of the `kill -9`, and only the next start follows the other half. Nothing follows
a signal that the run can handle (SIGTERM, Ctrl-C). The same seed gives the same campaign; a busy machine only
moves the moments.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from killing import SIGNALS, Ended, Killing
from leftovers import KINDS

APART: Final = (
    "unshare", "--mount", "--net", "sh", "-c", 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"', "sh",
)  # fmt: skip
"""A network namespace and a /run of its own: whatever else measures on this machine is not taken for a leak."""
APART_VARIABLE: Final = "KILL_CAMPAIGN_APART"
COMMANDS: Final = ("run", "ab", "pytest", "confirm")
CURES: Final = ("clean", "next start")


def main() -> int:
    """Run or report a campaign; status 1 where anything was left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many `kill -9`")
    parser.add_argument("--signals", type=int, default=24, help="how many ends by another signal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="append each end, one JSON a line, and report the whole file")
    parser.add_argument("--lock", type=Path, help="hold an flock(2) on this file, let go every --batch ends")
    parser.add_argument("--batch", type=int, default=25)
    chosen = parser.parse_args()
    if os.environ.get(APART_VARIABLE) != "1":
        argv = [*APART, sys.executable, *sys.argv]
        os.execvpe(argv[0], argv, {**os.environ, APART_VARIABLE: "1"})  # noqa: S606 - the argv is ours
    ends: list[Ended] = []
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:  # nohup's, which the runs would inherit
            signal.signal(number, lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        killing = Killing(Path(name))
        plan = list(planned(chosen.kills, chosen.signals))
        chance = random.Random(chosen.seed)  # noqa: S311 - which moment is hit needs no secrecy
        for first in range(0, len(plan), chosen.batch):
            with held(chosen.lock):
                for command, how, cure in plan[first : first + chosen.batch]:
                    ends.append(killing.once(command, how, cure, chance))
                    tell(ends[-1], len(ends), len(plan), chosen.results)
    if chosen.results is not None:
        ends = [Ended(**json.loads(line)) for line in chosen.results.read_text().splitlines()]
    sys.stdout.write("\n".join(table(ends)) + "\n")
    return 1 if any(end.leaks for end in ends) else 0


def planned(kills: int, signals: int) -> Iterator[tuple[str, str, str]]:
    """Yield command, signal and cure of each end."""
    for number in range(kills):
        yield COMMANDS[number % len(COMMANDS)], "kill -9", CURES[number // len(COMMANDS) % 2]
    others = [how for how in SIGNALS if how != "kill -9"]
    for number in range(signals):
        yield COMMANDS[number % len(COMMANDS)], others[number // len(COMMANDS) % len(others)], "nothing"


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """Hold a lock for a batch, so that other measurements on this machine get their turn."""
    with ExitStack() as stack:
        if lock is not None:
            fcntl.flock(stack.enter_context(lock.open("a")), fcntl.LOCK_EX)
        yield


def tell(end: Ended, number: int, of: int, results: Path | None) -> None:
    """Keep an end, and name what it left."""
    if results is not None:
        with results.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(end)) + "\n")
    at = f"{number}/{of} {end.command} {end.how} at {end.at_s:.2f} s, {end.cure}"
    sys.stderr.write(f"{at}: found {sum(end.found.values())}, left {end.leaks} {end.left or ''}\n")


def table(ends: Sequence[Ended]) -> Iterator[str]:
    """Yield the lines of a Markdown table: what was found after the end, and what was left after its cure."""
    groups: dict[tuple[str, str, str], list[Ended]] = {}
    for end in ends:
        cure = end.cure if end.how == "kill -9" else "nothing else"
        groups.setdefault((end.command, end.how, cure), []).append(end)
    yield "| command | ended by | then | ends | ends that left something | most found at one end | left |"
    yield "|---|---|---|---|---|---|---|"
    for (command, how, cure), members in sorted(groups.items()):
        striking = sum(1 for end in members if any(end.found.values()))
        most = max(sum(end.found.values()) for end in members)
        left = sum(end.leaks for end in members)
        yield f"| {command} | {how} | {cure} | {len(members)} | {striking} | {most} | {left} |"
    yield ""
    found = Counter[str]()
    left_of = Counter[str]()
    for end in ends:
        if end.how == "kill -9":
            found.update(end.found)
            left_of.update({kind: len(names) for kind, names in end.left.items()})
    yield "| after `kill -9` | found | left |"
    yield "|---|---|---|"
    for kind in KINDS:
        yield f"| {kind} | {found[kind]} | {left_of[kind]} |"


if __name__ == "__main__":
    sys.exit(main())
