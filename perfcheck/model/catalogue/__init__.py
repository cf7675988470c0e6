"""The metric catalogue: every metric is declared here once, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from perfcheck.model.catalogue.app import APP
from perfcheck.model.catalogue.app import UDP as UDP_OF_GENERATORS
from perfcheck.model.catalogue.cpu import CPU
from perfcheck.model.catalogue.detail import DETAIL
from perfcheck.model.catalogue.ip import IP
from perfcheck.model.catalogue.nic import NIC
from perfcheck.model.catalogue.qdisc import QDISC
from perfcheck.model.catalogue.socket import SOCKET
from perfcheck.model.catalogue.tcp import TCP
from perfcheck.model.catalogue.udp import UDP
from perfcheck.model.metric import MetricSpec

CATALOGUE: Final[Mapping[str, MetricSpec]] = MappingProxyType(
    {spec.name: spec for spec in (*APP, *SOCKET, *TCP, *UDP_OF_GENERATORS, *UDP, *IP, *QDISC, *NIC, *CPU, *DETAIL)}
)
"""Every metric by name, in the order of the layers."""
