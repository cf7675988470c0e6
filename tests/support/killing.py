"""Runs of perfcheck that are ended at a random moment, and what they leave: a campaign's and its test's common part."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leftovers import KINDS, Watched

TIMEOUT_S: Final = 120.0
LONGEST_S: Final = 12.0
"""A comparison of two sides goes on until it is settled; by now all it does has been done once."""
LEAST_RUNS: Final = 6
"""A comparison makes more runs than these, but attaches only once."""
PERFCHECK: Final = (sys.executable, "-c", "import sys; from perfcheck.cli import main; sys.exit(main())")
SIGNALS: Final[Mapping[str, Sequence[signal.Signals]]] = {
    "kill -9": [signal.SIGKILL],
    "SIGTERM": [signal.SIGTERM],
    "SIGINT": [signal.SIGINT],
    "SIGHUP": [signal.SIGHUP],
    "Ctrl-C twice": [signal.SIGINT, signal.SIGINT],
}
SCENARIO: Final = """\
scenario: killed
title: A run that is killed
hosts:
  client:
    congestion: reno
    sysctl: {{net.ipv4.tcp_ecn: 1, net.core.somaxconn: 333}}
    setup:
      - sh -c 'env -i setsid --fork sleep 86{word} >/dev/null 2>&1 </dev/null'
      - sh -c 'setsid sh -c "sleep 87{word} & exec sleep 88{word}" >/dev/null 2>&1 </dev/null &'
  server: {{sysctl: {{net.ipv4.tcp_rmem: 4096 131072 4194304}}}}
links:
  - between: [client, server]
    delay: 2ms
    rate: 20mbit
    queue: 2bdp
traffic:
  - iperf3: {{from: client, to: server, duration: 300ms}}
  - command:
      host: client
      run: sh -c 'env -i setsid --fork unshare --net sleep 89{word} >/dev/null 2>&1 </dev/null; sleep 0.2'
repeat: 1
warmup: 50ms
"""
NEXT: Final = """\
scenario: next
title: The next start
hosts: {a: {}, b: {}}
links: [{between: [a, b]}]
traffic: [{command: {host: a, run: "true"}}]
measure: {layers: [app]}
repeat: 1
warmup: 0ms
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One run that was ended: how, when, and what was left right after, and after the cure."""

    command: str
    how: str
    at_s: float
    cure: str
    found: Mapping[str, int]
    left: Mapping[str, Sequence[str]]

    @property
    def leaks(self) -> int:
        """How many things were left in the end."""
        return sum(len(names) for names in self.left.values())


class Killing:
    """A folder with scenarios and outputs, and the runs in it."""

    def __init__(self, folder: Path, longest_s: float = LONGEST_S) -> None:
        """Write the scenarios; each folder has its own run directory and a word of its own for its processes.

        A command is ended before `longest_s`, however long it would take.
        """
        self.folder = folder
        self.longest_s = longest_s
        self.word = f"{os.getpid():07d}"
        for name in ("tmp", "output", "run"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "killed.yaml").write_text(SCENARIO.format(word=self.word))
        (folder / "next.yaml").write_text(NEXT)
        self.watched = Watched(folder=folder, run_dir=folder / "run", word=self.word)
        self._length_s: dict[str, float] = {}

    def commands(self) -> Mapping[str, Sequence[str]]:
        """Return the arguments of each command."""
        output = ["--history", "output/history"]
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "killed.yaml", "--baseline-save"]
        return {
            "run": [*PERFCHECK, "run", "killed.yaml", "--json", "output/run.jsonl", *output],
            "ab": [*PERFCHECK, "ab", "killed.yaml", "--a", "file", "--b", "congestion client:cubic",
                   "--json", "output/ab.jsonl"],
            "confirm": [*PERFCHECK, "diagnose", "killed.yaml", "--repeat", "1", "--confirm",
                        "--cause", "receive_window", "--json", "output/confirm.jsonl"],
            "pytest": [*pytest, "--perfcheck-json=output/pytest.jsonl", "--baseline-dir=output/baselines", *output],
        }  # fmt: skip

    def once(self, command: str, how: str, cure: str, chance: random.Random) -> Ended:
        """Start a command, end it at a random moment of its life, apply the cure and return what is left."""
        at_s = chance.random() * self._length(command)
        self._forget_outputs()
        before = self.watched.now()
        running = self._start(self.commands()[command])
        with suppress(subprocess.TimeoutExpired):
            running.wait(at_s)
        for number in SIGNALS[how]:
            running.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.02)
        running.wait(TIMEOUT_S)
        now = self.watched.now()
        found = {kind: len(now[kind] - before[kind]) for kind in KINDS}
        self.cure(cure)
        differing = self.watched.differing(self._but_for_the_lock_file(before))
        left = {kind: sorted(names) for kind, names in differing.items() if names}
        return Ended(command=command, how=how, at_s=at_s, cure=cure, found=found, left=left)

    def at_its_traffic(self) -> tuple[subprocess.Popen[bytes], Mapping[str, frozenset[str]]]:
        """Return a run whose traffic has begun, and the state before it; RuntimeError where none begins."""
        self._forget_outputs()
        before = self.watched.now()
        running = self._start(self.commands()["run"])
        while running.poll() is None:
            if any("iperf3" in name for name in self.watched.now()["processes"] - before["processes"]):
                return running, self._but_for_the_lock_file(before)
        raise RuntimeError((self.folder / "said").read_text()[-2000:])

    def cure(self, cure: str) -> None:
        """Do what is to undo what was left; RuntimeError where it fails."""
        argv = {"clean": ["clean"], "next start": ["run", "next.yaml"], "nothing": []}[cure]
        if argv:
            done = self._start([*PERFCHECK, *argv])
            status = done.wait(TIMEOUT_S)
            if (cure == "clean" and status != 0) or status not in {0, 1, 3}:
                raise RuntimeError(f"{cure} ended with status {status}: {(self.folder / 'said').read_text()[-2000:]}")

    def _length(self, command: str) -> float:
        """Return how long a command takes that nobody ends, at most; a comparison makes many runs."""
        if command == "ab":
            return min(self.longest_s, LEAST_RUNS * self._length("run"))
        if command not in self._length_s:
            started = time.monotonic()
            running = self._start(self.commands()[command])
            with suppress(subprocess.TimeoutExpired):
                running.wait(self.longest_s)
            self._length_s[command] = time.monotonic() - started
            running.terminate()
            running.wait(TIMEOUT_S)
        return self._length_s[command]

    def _start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PERFCHECK_RUN_DIR": str(self.folder / "run"), "TMPDIR": str(self.folder / "tmp")}
        with (self.folder / "said").open("wb") as said:
            return subprocess.Popen(
                argv, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )

    def _forget_outputs(self) -> None:
        for path in sorted((self.folder / "output").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def _but_for_the_lock_file(self, before: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        """Return the state before with the lock's file, which the first run makes and which stays."""
        lock = self.folder / "run" / "measuring.lock"
        return {**before, "files": before["files"] | ({str(lock)} if lock.exists() else set())}
