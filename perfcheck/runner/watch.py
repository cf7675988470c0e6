"""Ends the traffic of a trial when a process that carries one of its links dies."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from perfcheck.errors import LabError
from perfcheck.model.seams import TrafficSession


@contextmanager
def traffic_ends_with(pids: Sequence[int], sessions: Sequence[TrafficSession]) -> Iterator[None]:
    """Stop the sessions as soon as one of the processes ends.

    Nothing comes through such a link any more, but generators would wait for their own time-outs,
    which are long, and then blame the network.
    """
    if not pids:
        yield
        return
    with ExitStack() as stack:
        over = os.eventfd(0)
        stack.callback(os.close, over)
        exits = []
        for pid in pids:
            exits.append(_opened(pid))
            stack.callback(os.close, exits[-1])
        watcher = threading.Thread(target=_stop_at_an_exit, args=(exits, over, sessions), daemon=True)
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(os.eventfd_write, over, 1)
        yield


def _opened(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise LabError(f"process {pid}, which carries a link or reaches a host, has ended") from None


def _stop_at_an_exit(exits: Sequence[int], over: int, sessions: Sequence[TrafficSession]) -> None:
    poll = select.poll()
    for fd in (*exits, over):
        poll.register(fd, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    if over not in ready:
        for session in sessions:
            session.stop()
