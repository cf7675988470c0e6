"""Traffic generators: programs that send, each behind `perfcheck.model.seams.TrafficGenerator`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from perfcheck.model.seams import TrafficGenerator
from perfcheck.traffic.command import Command
from perfcheck.traffic.iperf3 import Iperf3


def generators() -> Mapping[str, TrafficGenerator]:
    """Give every generator by the key that scenario files use for it; schema 1 knows these and no others."""
    return MappingProxyType({generator.name: generator for generator in (Iperf3(), Command())})


__all__ = ["Command", "Iperf3", "generators"]
