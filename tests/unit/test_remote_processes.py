"""A process of another machine, as traffic sees it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perfcheck.model.seams import Told
from perfcheck.remote.processes import RemoteProcess
from perfcheck.testing import FakeHost
from perfcheck.traffic.process import Child

AHEAD_NS = 10**12


@pytest.fixture
def remote() -> Iterator[Callable[..., RemoteProcess]]:
    """Return what makes processes, whose pipes are closed afterwards."""
    made: list[RemoteProcess] = []

    def make(*arguments: Any) -> RemoteProcess:
        made.append(RemoteProcess(*arguments))
        return made[-1]

    yield make
    for process in made:
        process.stdout.close()
        process.stderr.close()


Make = Callable[..., RemoteProcess]


def test_output_and_end_come_as_from_a_process_of_this_machine(remote: Make) -> None:
    process = remote(["iperf3"], lambda _: None, AHEAD_NS)
    process.begun(77, AHEAD_NS + 1000)
    process.output(1, b"out")
    process.output(2, b"err")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    process.output(1, b"put" * 100_000)
    process.ended(3, AHEAD_NS + 5000, 0.25)
    assert process.stdout.read() == b"out" + b"put" * 100_000
    assert process.stderr.read() == b"err"
    assert process.wait(5) == 3
    assert (process.pid, process.start_ns, process.end_ns, process.cpu_s()) == (77, 1000, 5000, 0.25)
    assert isinstance(process, Told)


def test_an_end_that_is_told_before_the_start_is_by_our_clock_too(remote: Make) -> None:
    process = remote(["true"], lambda _: None, AHEAD_NS)
    process.ended(0, AHEAD_NS + 9, 0.0)
    process.begun(5, AHEAD_NS + 7)
    assert (process.start_ns, process.end_ns) == (7, 9)


def test_signals_are_passed_on(remote: Make) -> None:
    sent: list[int] = []
    process = remote(["x"], sent.append)
    process.terminate()
    process.kill()
    process.ended(-9, 0, 0.0)
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    assert process.poll() == -9


def test_a_reader_that_has_gone_holds_nobody_up(remote: Make) -> None:
    process = remote(["x"], lambda _: None)
    process.stdout.close()
    process.output(1, bytes(1 << 20))
    process.output(2, b"last")
    process.ended(0, 1, 0.0)
    assert process.stderr.read() == b"last"


class _There(FakeHost):
    """A host whose processes are another machine's."""

    def popen(self, argv: object, *, stdin: int | None = None) -> RemoteProcess:  # type: ignore[override]
        del argv, stdin
        process = RemoteProcess(["x"], lambda _: process.ended(-15, AHEAD_NS + 30, 0.5), AHEAD_NS)
        process.begun(4, AHEAD_NS + 20)
        process.output(1, b"hello")
        return process


def test_a_child_takes_its_times_from_its_machine() -> None:
    child = Child(_There(), ["x"])
    assert (child.start_ns, child.ahead_ns) == (20, AHEAD_NS)
    child.stop()
    assert (child.status, child.end_ns, child.cpu_s(), child.stdout) == (-15, 30, 0.5, "hello")


def test_what_a_stopped_process_wrote_last_is_waited_for(remote: Make) -> None:
    """Its end is told before a thread has written its output to the pipe."""
    process = remote(["load"], lambda _: None)
    process.begun(7, 1)

    def end(_: int) -> None:
        for number in range(1000):
            process.output(1, f"{number:06} {'x' * 500}\n".encode())
        process.ended(-15, 9, 0.0)

    process._send_signal = end
    child = Child(FakeHost(processes=lambda _: process), ["load"])  # type: ignore[arg-type,return-value]
    child.stop()
    assert child.stdout.splitlines()[-1].startswith("000999 ")
