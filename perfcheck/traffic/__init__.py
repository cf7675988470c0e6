"""Traffic generators: programs that send, each behind `perfcheck.model.seams.TrafficGenerator`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from perfcheck.model.seams import TrafficGenerator
from perfcheck.traffic.command import Command
from perfcheck.traffic.connections.session import Connections
from perfcheck.traffic.http import Http
from perfcheck.traffic.iperf3 import Iperf3
from perfcheck.traffic.load import Load
from perfcheck.traffic.sockperf import Sockperf


def generators() -> Mapping[str, TrafficGenerator]:
    """Return every generator by the key that scenario files use for it; schema 1 knows these and no others."""
    every: tuple[TrafficGenerator, ...] = (Iperf3(), Http(), Sockperf(), Connections(), Load(), Command())
    return MappingProxyType({generator.name: generator for generator in every})


__all__ = ["Command", "Connections", "Http", "Iperf3", "Load", "Sockperf", "generators"]
