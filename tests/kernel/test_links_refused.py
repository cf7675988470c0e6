"""Links that cannot be had: told at once, with exit status 3, and nothing is made or sent."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from perfcheck.system.lock import measuring_lock

pytestmark = pytest.mark.kernel

SCENARIO: Final = """
scenario: cannot-be-had
hosts: {client: {}, server: {}}
links: [{between: [client, server], emulator: relay, LINK}]
traffic: [{iperf3: {from: client, to: server, duration: 5s}}]
"""
SPY: Final = """#!/bin/sh
echo "$0 $*" >> RAN
exec false
"""


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("rate: 10gbit", "relay: forward: rate 10 Gbit/s is more than the relay supports (1 Gbit/s)"),
        ("delay: 50us", "relay: forward: delay 50 us is shorter than the relay supports (200 us)"),
        ("rate: 800mbit, jitter: 1ms, delay: 5ms", "jitter on a link faster than 500 Mbit/s"),
        ("rate: 1mbit, schedule: [{at: 1s, rate: 2gbit}]", "rate 2 Gbit/s is more than the relay supports"),
    ],
)
def test_it_is_invalid_at_once_and_nothing_is_sent(link: str, text: str, tmp_path: Path, run_directory: Path) -> None:
    file, programs, ran = tmp_path / "x.yaml", tmp_path / "bin", tmp_path / "ran"
    file.write_text(SCENARIO.replace("LINK", link), encoding="utf-8")
    programs.mkdir()
    for name in ("iperf3", "tc", "ip", "nft"):
        spy = programs / name
        spy.write_text(SPY.replace("RAN", str(ran)), encoding="utf-8")
        spy.chmod(spy.stat().st_mode | stat.S_IXUSR)
    perfcheck = Path(sys.executable).with_name("perfcheck")
    listed_s = cpu_s([perfcheck, "list", str(file)])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Somebody else measures meanwhile, and is not waited for.
    with measuring_lock():
        done = subprocess.run(
            [perfcheck, "run", str(file)],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 3
    assert "INVALID" in done.stdout + done.stderr
    assert text in done.stdout + done.stderr
    # The record names the versions of the programs; nothing else is asked of them.
    asked = ran.read_text(encoding="utf-8").splitlines() if ran.exists() else []
    assert set(asked) <= {f"{programs}/iperf3 --version"}
    assert not [path for path in run_directory.iterdir() if path.suffix == ".journal"]
    # Both on the same machine at the same time: rules and all are loaded in less than twice the CPU time that it takes
    # to read the file. The link is refused before anything else is prepared.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3 * listed_s


def cpu_s(command: list[str | Path]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
