"""The traffic is ended when a process that carries a link dies, and left alone otherwise."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcheck.model.observation import TrafficReport
from perfcheck.runner.watch import traffic_ends_with


class Endless:
    """A session that ends when it is stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def start(self) -> None:
        """Run."""

    def wait(self) -> TrafficReport:
        """Never report."""
        raise NotImplementedError

    def stop(self) -> None:
        """Note it."""
        self.stopped.set()


@pytest.fixture
def carrier() -> Iterator[tuple[int, int]]:
    """A process that lives until its pipe is closed: its id, and the pipe's end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    yield pid, writing
    os.waitpid(pid, 0)


def test_a_carrier_that_dies_ends_the_traffic(carrier: tuple[int, int]) -> None:
    session = Endless()
    with traffic_ends_with([carrier[0]], [session]):
        assert not session.stopped.is_set()
        os.close(carrier[1])
        assert session.stopped.wait(20.0)


def test_traffic_that_ends_first_is_left_alone(carrier: tuple[int, int]) -> None:
    session = Endless()
    before = set(Path("/proc/self/fd").iterdir())
    with traffic_ends_with([carrier[0]], [session]):
        pass
    assert set(Path("/proc/self/fd").iterdir()) == before
    os.close(carrier[1])
    assert not session.stopped.is_set()


def test_plain_links_have_no_carrier() -> None:
    threads = threading.active_count()
    with traffic_ends_with([], [Endless()]):
        assert threading.active_count() == threads
