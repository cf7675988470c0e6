"""The metric catalogue: every metric is declared here once, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from perfcheck.model.catalogue.app import APP
from perfcheck.model.catalogue.app import UDP as UDP_OF_GENERATORS
from perfcheck.model.catalogue.cost import COST
from perfcheck.model.catalogue.cpu import CPU
from perfcheck.model.catalogue.detail import DETAIL
from perfcheck.model.catalogue.ip import IP
from perfcheck.model.catalogue.nic import NIC
from perfcheck.model.catalogue.qdisc import QDISC
from perfcheck.model.catalogue.socket import SOCKET
from perfcheck.model.catalogue.tcp import TCP
from perfcheck.model.catalogue.udp import UDP
from perfcheck.model.metric import MetricSpec
from perfcheck.model.subject import SubjectKind, read_key


class Catalogue(Mapping[str, MetricSpec]):
    """Metrics by name, in the order of the layers.

    A key with a subject or a phase (`tcp.rtt_us.p99@bulk/after`) gives the metric's declaration under that name.
    Iteration is over the metrics alone.
    """

    def __init__(self, specs: Iterable[MetricSpec]) -> None:
        """Take the declarations; a name that is declared twice is a mistake of the program."""
        self._specs: dict[str, MetricSpec] = {}
        for spec in specs:
            if spec.name in self._specs:
                raise ValueError(f"{spec.name} is declared twice")
            self._specs[spec.name] = spec

    def __getitem__(self, key: str) -> MetricSpec:
        """Return the declaration; KeyError where the metric is not declared."""
        found = self._specs.get(key)
        if found is not None:
            return found
        try:
            metric = read_key(key).metric
        except (ValueError, TypeError):
            raise KeyError(key) from None
        return replace(self._specs[metric], name=key)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the metrics' names."""
        return iter(self._specs)

    def __len__(self) -> int:
        """Return the number of metrics."""
        return len(self._specs)


def _of_traffic(specs: Iterable[MetricSpec]) -> Iterator[MetricSpec]:
    """Return the declarations of what belongs to flows, and so to traffic entries."""
    return (replace(spec, subjects=(SubjectKind.TRAFFIC,)) for spec in specs)


CATALOGUE: Final = Catalogue((
    *_of_traffic(APP), *SOCKET, *_of_traffic(TCP), *_of_traffic(UDP_OF_GENERATORS),
    *UDP, *IP, *QDISC, *NIC, *CPU, *COST, *DETAIL,
))  # fmt: skip
"""Every metric that perfcheck itself measures."""
