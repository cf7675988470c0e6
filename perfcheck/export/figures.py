"""The figures of an interval with whose they are: a namespace's, an interface's, or the machine's as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from perfcheck.export.names import BY_INTERFACE, is_counted
from perfcheck.export.own_families import OTHER
from perfcheck.export.snapshot import label_text
from perfcheck.live.bottleneck import Mask
from perfcheck.live.figures import again_pct, tcp_figures
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.model.metric import Layer

MOST_INTERFACES: Final = 64
"""Interfaces that have series of their own; what is counted of others is summed up."""
_OF_ALL: Final = frozenset({"tcp.rtt_inflation_ratio", "tcp.queue_delay_us"})
"""They rest on a histogram that is of all namespaces together."""
Figure = tuple[str, Mapping[str, str], float]
"""A metric, the labels of whose it is, and its value in the catalogue's unit."""


class Figures:
    """Tells figures apart; what was once told of namespaces or interfaces is never told of the whole."""

    def __init__(self, *, several: bool) -> None:
        """Take whether several namespaces are watched: then each has the label `netns`."""
        self.several = several
        self._by_host: set[str] = set()
        self._interfaces: set[tuple[str, str]] = set()
        self.interfaces_left_out = 0

    def of(self, interval: Interval) -> Iterator[Figure]:
        """Yield the figures of an interval."""
        yield from self._of_interfaces(interval)
        if self.several:
            yield from self._of_hosts(interval)
        for metric, value in of_all_ends(interval.metrics, interval.flows).items():
            if not self._told_elsewhere(metric):
                yield metric, {}, value

    def hosts(self, flows: FlowTable) -> Iterator[tuple[Mapping[str, str], Mask]]:
        """Yield each namespace's labels, and which connections are its own; all are where there is one namespace."""
        if not self.several:
            yield {}, np.ones(len(flows), np.bool_)
            return
        for inode, host in flows.hosts.items():
            yield {"netns": label_text(host)}, flows["netns"] == np.uint32(inode)

    def _of_interfaces(self, interval: Interval) -> Iterator[Figure]:
        other: dict[str, float] = {}
        left_out = 0
        for where, metrics in interval.interfaces.items():
            host, interface = where
            if where not in self._interfaces:
                if len(self._interfaces) >= MOST_INTERFACES:
                    left_out += 1
                    for metric, value in metrics.items():
                        if metric in BY_INTERFACE and is_counted(metric):
                            other[metric] = other.get(metric, 0.0) + value
                    continue
                self._interfaces.add(where)
            labels = {"netns": label_text(host)} if self.several else {}
            for metric, value in metrics.items():
                if metric in BY_INTERFACE:
                    yield metric, {**labels, "interface": label_text(interface)}, value
        self.interfaces_left_out = left_out
        rest = {"netns": OTHER, "interface": OTHER} if self.several else {"interface": OTHER}
        yield from ((metric, rest, value) for metric, value in other.items())

    def _of_hosts(self, interval: Interval) -> Iterator[Figure]:
        for host, metrics in interval.hosts.items():
            self._by_host |= metrics.keys()
            for metric, value in metrics.items():
                if not (metric in BY_INTERFACE and self._interfaces) and not _is_tcp(metric):
                    yield metric, {"netns": label_text(host)}, value
        for labels, rows in self.hosts(interval.flows):
            own = interval.flows.where(rows)
            for metric, value in of_all_ends(tcp_figures(own, {}, interval.seconds), own).items():
                yield metric, labels, value

    def _told_elsewhere(self, metric: str) -> bool:
        if metric in BY_INTERFACE and self._interfaces:
            return True
        return self.several and metric not in _OF_ALL and (metric in self._by_host or _is_tcp(metric))


def of_all_ends(metrics: Mapping[str, float], flows: FlowTable) -> dict[str, float]:
    """Return the metrics with what is counted counted at each end that is seen, as nstat does.

    In a lab both ends are seen, and what is judged is counted at those that send more than they receive. A watched
    machine is often one end only, and what it sends again is its own whatever it receives.
    """
    found = dict(metrics)
    for name in metrics:
        spec = CATALOGUE.get(name)
        if spec is not None and spec.counter and spec.counter in flows.columns:
            found[name] = float(flows[spec.counter].sum(dtype=np.uint64))
    if sent := float(flows["data_segs_out"].sum(dtype=np.uint64)):
        found["tcp.retrans_pct"] = again_pct(float(flows["retrans_segs"].sum(dtype=np.uint64)), sent)
    return found


def _is_tcp(metric: str) -> bool:
    """Return whether a metric is made of the table of connections."""
    found = CATALOGUE.get(metric)
    return found is not None and found.layer in {Layer.TCP, Layer.APP}
