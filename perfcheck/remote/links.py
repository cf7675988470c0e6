"""A real link: nothing of it is made or changed; its reports are the interfaces' own counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perfcheck.agent import requests as ask
from perfcheck.model.observation import LinkReport
from perfcheck.remote.hosts import RealHost

EMULATOR: Final = "real"
_DROPPED: Final = ("tx_dropped", "tx_errors")


class RealLink:
    """A link between the interfaces of two machines; implements model.seams.EmulatedLink.

    The interfaces may carry more than the scenario's packets, and other devices may be on the way: what one of them
    sends and the other one receives need not be the same.
    """

    def __init__(self, index: int, ends: tuple[RealHost, RealHost]) -> None:
        """Take the two hosts, in the order of the file."""
        self._index = index
        self._ends = ends
        self._before: tuple[Mapping[str, int], ...] = ({}, {})

    def begin_trial(self, index: int) -> None:
        """Start a trial at the present counters."""
        del index
        self._before = self._read()

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions since begin_trial, forward first."""
        first, second = (
            {name: value - before.get(name, 0) for name, value in now.items()}
            for now, before in zip(self._read(), self._before, strict=True)
        )
        return self._report("forward", first, second), self._report("reverse", second, first)

    def close(self) -> None:
        """Do nothing: the link is not ours."""

    def _read(self) -> tuple[Mapping[str, int], ...]:
        return tuple(end.channel.ask(ask.Counters(interface=end.interface)) for end in self._ends)

    def _report(self, direction: str, sender: Mapping[str, int], receiver: Mapping[str, int]) -> LinkReport:
        return LinkReport(
            link=self._index,
            way=direction,
            emulator=EMULATOR,
            received=sender["tx_packets"],
            delivered=receiver["rx_packets"],
            dropped_other=sum(sender[name] for name in _DROPPED) + receiver["rx_dropped"] + receiver["rx_errors"],
            extra={"received_bytes": float(sender["tx_bytes"]), "delivered_bytes": float(receiver["rx_bytes"])},
        )
