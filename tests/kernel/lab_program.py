"""A program that builds labs and is killed: `hold` one until a signal, or `strike` itself at every step of many."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from perfcheck.errors import Stopped
from perfcheck.lab import Lab
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.system import Journal, clean, new_tag, stop_on_signals
from perfcheck.testing import make_scenario

SCENARIO = make_scenario(
    hosts={"client": {"setup": ["sleep 0.5"]}, "server": {"sysctl": {"net.ipv4.tcp_ecn": 1}}},
    links=[{"between": ["client", "server"]}],
    traffic=[],
)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def build_and(work: Callable[[Lab], None]) -> None:
    with Journal.create(new_tag()) as journal, Lab(SCENARIO, journal, {"veth": VethEmulator()}) as lab:
        lab.apply_settings()
        work(lab)


def wait_for_a_signal(lab: Lab) -> None:
    lab.hosts["client"].popen(["sleep", "1000"])
    lab.hosts["client"].popen(["env", "-i", "sleep", "1001"])
    lab.hosts["server"].popen(["sh", "-c", "setsid sleep 1002 & exec sleep 1003"])
    say(lab.tag)
    while True:
        time.sleep(0.05)  # not signal.pause(), which misses a signal that comes just before it


def hold() -> None:
    """Print the tag once the lab is up; on SIGTERM and SIGINT undo it and say how it ended."""
    try:
        with stop_on_signals():
            build_and(wait_for_a_signal)
    except (Stopped, KeyboardInterrupt) as ended:
        say(type(ended).__name__)


class Mortal(Journal):
    """A journal that kills its process right before or right after its so-manieth note is written."""

    notes = 0
    fatal = 0
    after = False

    def note(self, kind: str, name: str, **detail: str) -> None:
        self.notes += 1
        if self.notes == self.fatal and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        super().note(kind, name, **detail)
        if self.notes == self.fatal and self.after:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at_note(number: int, *, after: bool) -> None:
    with Mortal.create(new_tag()) as journal:
        journal.fatal, journal.after = number, after
        with Lab(SCENARIO, journal, {"veth": VethEmulator()}) as lab:
            lab.apply_settings()


def build_for_ever() -> None:
    while True:
        build_and(lambda lab: None)


def in_child(work: Callable[[], None], kill_after_s: float | None = None) -> bool:
    """Run `work` in a forked process, which may be killed from here; whether it was killed at all."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def strike() -> None:
    """Die at each note of a lab, then at random moments; clean after each and print what was left and undone."""
    number = 1
    while in_child(partial(die_at_note, number, after=False)):
        report(f"before note {number}")
        in_child(partial(die_at_note, number, after=True))
        report(f"after note {number}")
        number += 1
    moments = random.Random(20)  # noqa: S311
    for round_number in range(10):
        in_child(build_for_ever, moments.uniform(0.0, 0.2))
        report(f"random {round_number}")


def report(when: str) -> None:
    done = clean()
    say(f"{when}: undone {len(done.undone)}, failed {len(done.failed)}")


if __name__ == "__main__":
    {"hold": hold, "strike": strike}[sys.argv[1]]()
