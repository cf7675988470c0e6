"""The kernel's own counts of the hosts' queues, interfaces and neighbours, over rtnetlink(7) and ethtool's ioctl."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from perfcheck.collect import declared
from perfcheck.collect.base.collector import LookingCollector, Seen
from perfcheck.collect.kernel import ethtool, rtnetlink
from perfcheck.errors import LabError, Unavailable
from perfcheck.system.netns import OWN_NETNS, NetnsThread


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLook:
    """One host at one moment; `drivers` and `offloads` are ethtool's by interface name."""

    queues: Mapping[int, rtnetlink.Queue]
    interfaces: Mapping[int, rtnetlink.Interface]
    drivers: Mapping[str, Mapping[str, int]]
    offloads: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    lanes: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    neighbours: int = 0
    neighbours_failed: int = 0


class NetlinkCollector(LookingCollector[dict[str, HostLook]]):
    """Reads queues, interfaces, drivers' counters and neighbours of each host."""

    declared = declared.NETLINK

    def check(self) -> None:
        """Raise Unavailable where rtnetlink does not answer."""
        with NetnsThread() as thread:
            try:
                thread.netlink(OWN_NETNS, rtnetlink.interfaces, what="listing interfaces")
            except (LabError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise Unavailable("rtnetlink", reason, "a kernel with CONFIG_NET and CONFIG_INET") from error

    def look(self, namespaces: NetnsThread, paths: Mapping[str, str]) -> dict[str, HostLook]:
        """HostLook at each host."""
        return {host: _look_at(namespaces, host, path) for host, path in paths.items()}

    def compare(self, before: dict[str, HostLook], after: dict[str, HostLook], length_ns: int) -> Seen:
        """Return the differences, of all hosts together."""
        del length_ns
        return Seen(
            metrics=dict(metrics_of(before, after)),
            by_host={host: dict(metrics_of({host: was}, after)) for host, was in before.items()},
            by_interface=dict(_of_each_interface(before, after)),
            warnings=tuple(driver_warnings(before, after)),
        )


def _look_at(namespaces: NetnsThread, host: str, path: str) -> HostLook:
    what = f"host {host}: reading its interfaces"
    # Together, since each call into the host's namespace takes as long as a dump.
    interfaces, qdiscs, (neighbours, failed) = namespaces.netlink(
        path, lambda ip: (rtnetlink.interfaces(ip), rtnetlink.qdiscs(ip), rtnetlink.neighbours(ip)), what=what
    )
    names = [interface.ifname for interface in interfaces.values()]
    drivers, offloads = namespaces.inside(path, lambda: (ethtool.counters(names), ethtool.offloads(names)))
    return HostLook(
        queues=rtnetlink.queues_of(qdiscs),
        lanes=rtnetlink.lanes_of(qdiscs),
        interfaces=interfaces,
        drivers=drivers,
        offloads=offloads,
        neighbours=neighbours,
        neighbours_failed=failed,
    )


def metrics_of(before: Mapping[str, HostLook], after: Mapping[str, HostLook]) -> Iterator[tuple[str, float]]:
    """Return the sums over all hosts of what grew between two looks; neighbours are the later look's."""
    hosts = [(before[host], look) for host, look in after.items() if host in before]
    yield from _of_queues(hosts)
    yield from _of_interfaces(hosts)
    yield "ip.neighbours", sum(now.neighbours for _, now in hosts)
    yield "ip.neighbours_failed", sum(now.neighbours_failed for _, now in hosts)


def _of_each_interface(
    before: Mapping[str, HostLook], after: Mapping[str, HostLook]
) -> Iterator[tuple[tuple[str, str], dict[str, float]]]:  # fmt: skip
    """Return what the queue of each interface did, by host and interface name."""
    for host, was in before.items():
        for ifindex, queue in after[host].queues.items() if host in after else ():
            interface = after[host].interfaces.get(ifindex)
            if interface is not None:
                grew = queue.since(was.queues.get(ifindex))
                yield (host, interface.ifname), dict(_queue_metrics([grew]))


def _of_queues(hosts: list[tuple[HostLook, HostLook]]) -> Iterator[tuple[str, float]]:
    each = [queue.since(was.queues.get(ifindex)) for was, now in hosts for ifindex, queue in now.queues.items()]
    yield from _queue_metrics(each)


def _queue_metrics(each: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, float]]:
    # Hosts whose devices have no queues at all drop nothing in them.
    for name in ("packets", "drops", "overlimits", "requeues"):
        yield f"qdisc.{name}", sum(queue[name] for queue in each)
    handed = sum(queue["packets"] + queue["drops"] for queue in each)
    if handed:
        yield "qdisc.drop_pct", 100 * sum(queue["drops"] for queue in each) / handed


def _of_interfaces(hosts: list[tuple[HostLook, HostLook]]) -> Iterator[tuple[str, float]]:
    each = [one.since(was.interfaces.get(ifindex)) for was, now in hosts for ifindex, one in now.interfaces.items()]
    for name, counter in (
        ("rx_packets", "rx_packets"), ("tx_packets", "tx_packets"), ("rx_drops", "rx_dropped"),
        ("tx_drops", "tx_dropped"), ("rx_errors", "rx_errors"), ("tx_errors", "tx_errors"),
    ):  # fmt: skip
        yield f"nic.{name}", sum(one[counter] for one in each)
    for way in ("tx", "rx"):
        if packets := sum(one[f"{way}_packets"] for one in each):
            yield f"nic.{way}_packet_bytes.mean", sum(one[f"{way}_bytes"] for one in each) / packets
    yield from _of_lanes(hosts)
    yield from _of_offloads([features for _, now in hosts for features in now.offloads.values()])
    # Only a device with a queue may be busy: what it does not take goes back there.
    yield (
        "nic.tx_busy",
        sum(
            queue.since(was.queues.get(ifindex))["requeues"]
            for was, now in hosts
            for ifindex, queue in now.queues.items()
        ),
    )
    yield "nic.rx_queues", max((one.rx_queues for _, now in hosts for one in now.interfaces.values()), default=0)
    yield "nic.tx_queues", max((one.tx_queues for _, now in hosts for one in now.interfaces.values()), default=0)
    drivers = [
        ethtool.grew(was.drivers.get(ifname, {}), counters) for was, now in hosts
        for ifname, counters in now.drivers.items()
    ]  # fmt: skip
    if drivers:
        yield "nic.driver_drops", sum(ethtool.drops(one) for one in drivers)
        yield "nic.driver_errors", sum(ethtool.errors(one) for one in drivers)


def _of_lanes(hosts: list[tuple[HostLook, HostLook]]) -> Iterator[tuple[str, float]]:
    """How unevenly the interface that is worst at it used its transmit queues; nothing where each has but one."""
    shares = []
    for was, now in hosts:
        for ifindex, lanes in now.lanes.items():
            grew = [count - was.lanes.get(ifindex, {}).get(lane, 0) for lane, count in lanes.items()]
            if len(grew) > 1 and sum(grew) > 0:
                shares.append(100 * max(grew) / sum(grew))
    if shares:
        yield "nic.tx_queue_busiest_pct", max(shares)


def _of_offloads(interfaces: list[Mapping[str, bool]]) -> Iterator[tuple[str, float]]:
    for name in ethtool.OFFLOADS if interfaces else ():
        yield f"nic.offload_{name}_pct", 100 * sum(one[name] for one in interfaces) / len(interfaces)


def driver_warnings(before: Mapping[str, HostLook], after: Mapping[str, HostLook]) -> Iterator[str]:
    """Name the counters behind driver drops and errors: their names are all that tells the cause."""
    for host, look in after.items():
        for ifname, counters in look.drivers.items():
            for name, value in ethtool.grew(before[host].drivers.get(ifname, {}), counters).items():
                if ethtool.drops({name: value}) or ethtool.errors({name: value}):
                    yield f"{host} {ifname}: the driver's counter {name} rose by {value}"
