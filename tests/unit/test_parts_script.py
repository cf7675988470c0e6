"""`.ci/parts`, which runs the parts of `make test`: its table and its exit status, with a make that only ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci/parts"
MAKE = """#!/bin/sh
for target; do :; done
echo "ran $target"
case $target in
    part-broken) exit 7 ;;
    part-slow) sleep 1.1 ;;
    part-endless) exec sleep 60 ;;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "make"
    program.write_text(MAKE)
    program.chmod(0o755)
    return {**os.environ, "MAKE": str(program)}


def parts(environment: dict[str, str], *names: str) -> tuple[int, list[str]]:
    """Return the exit status and the lines that were printed, each column one space from the next."""
    done = subprocess.run([SCRIPT, *names], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert not done.stderr
    return done.returncode, [re.sub(" +", " ", line) for line in done.stdout.splitlines()]


def test_each_part_and_the_total_have_their_time(environment: dict[str, str]) -> None:
    status, lines = parts(environment, "slow", "fine")
    assert status == 0
    assert lines[:4] == ["ran part-slow", "ran part-fine", "", "part min:s"]
    assert re.fullmatch(r"slow 0:0[1-9] passed", lines[4])
    assert re.fullmatch(r"fine 0:0[0-9] passed", lines[5])
    assert re.fullmatch(r"total 0:0[1-9] passed", lines[6])


def test_the_part_that_fails_is_the_last_and_gives_the_exit_status(environment: dict[str, str]) -> None:
    status, lines = parts(environment, "fine", "broken", "slow")
    assert status == 7
    assert "ran part-slow" not in lines
    assert [re.sub(r"\d:\d\d", "#", line) for line in lines[-4:]] == [
        "fine # passed", "broken # FAILED", "slow - not run", "total # FAILED"]  # fmt: skip


def test_ctrl_c_is_a_failure_with_a_table(environment: dict[str, str]) -> None:
    running = subprocess.Popen(
        [SCRIPT, "endless", "fine"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ran part-endless\n"
        os.killpg(running.pid, signal.SIGINT)
        text = running.stdout.read()
    assert running.returncode != 0
    assert re.search(r"^endless .* FAILED\nfine .* not run\ntotal .* FAILED$", text, re.MULTILINE)


def test_make_test_has_a_target_for_each_part() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (names,) = re.findall(r"\.ci/parts (.*)$", makefile, re.MULTILINE)
    assert set(names.split()) == set(re.findall(r"^part-(\w+):", makefile, re.MULTILINE))
