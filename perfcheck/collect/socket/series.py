"""The socket layer's time series: how full buffers were at each of the collector's own looks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perfcheck.collect.series.source import Moment
from perfcheck.collect.socket.buffers import Looks
from perfcheck.model.series import BufferLooks


class BufferSeries:
    """Takes nothing at an interval: the looks have moments of their own."""

    def __init__(self, looks: Looks, hosts: Mapping[int, str]) -> None:
        """Take the looks of the trial, and the hosts by their namespaces' inode numbers."""
        self._looks, self._hosts = looks, hosts

    def sample(self, moment: Moment) -> None:
        """Do nothing."""

    def spool(self) -> None:
        """Do nothing."""

    def samples(self) -> tuple[BufferLooks, ...]:
        """Return each TCP connection's memory in use, in per cent of the buffers' sizes."""
        found = []
        for key, t_ns, values in self._looks.timed(self._hosts):
            snd, sndbuf, rcv, rcvbuf = (np.maximum(values[:, column], 0) for column in range(4))
            found.append(BufferLooks(
                key=key, t_ns=t_ns, snd_use_pct=100 * snd / np.maximum(sndbuf, 1),
                rcv_use_pct=100 * rcv / np.maximum(rcvbuf, 1),
            ))  # fmt: skip
        return tuple(found)

    def warnings(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def close(self) -> None:
        """Do nothing: the looks are the collector's."""
