"""A child process's output is drained and its end made sure, played with scripted processes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic.process import Child

DESCRIPTORS = Path("/proc/self/fd")


def host_with(stdout: bytes) -> FakeHost:
    return FakeHost(processes=lambda argv: FakeProcess(argv, stdout=stdout))


def test_end_of_the_kept_output_is_kept() -> None:
    written = b"".join(b"%06d\n" % number for number in range(100_000))
    child = Child(host_with(written), ["chatty"], keep_bytes=1000)
    assert child.wait(5.0)
    assert child.stdout.endswith("099998\n099999\n")
    assert 1000 <= len(child.stdout) <= 2000 + 65536
    child.stop()


def test_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.traffic.process.TERM_S", 0.01)

    class Stubborn(FakeProcess):
        def terminate(self) -> None:
            self.signals.append(15)

    process = Stubborn(["stubborn"], exit_status=None)
    child = Child(FakeHost(processes=lambda argv: process), ["stubborn"])
    assert not child.ended()
    child.stop()
    assert process.signals == [15, 9]
    assert child.status == -9


def test_no_thread_and_no_descriptor_is_left() -> None:
    before = threading.active_count(), len(list(DESCRIPTORS.iterdir()))
    for _ in range(50):
        child = Child(host_with(b"out"), ["tool"])
        child.wait(5.0)
        child.stop()
    assert (threading.active_count(), len(list(DESCRIPTORS.iterdir()))) == before
