"""Which flows are looked at on a live machine: addresses, ports, process, cgroup and interface."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from perfcheck.model.flow import FlowKey, Protocol

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ANY_PORT: Final = (0, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a flow: a network of addresses (None: any), and the first and last of its ports."""

    network: Network | None = None
    ports: tuple[int, int] = ANY_PORT

    @property
    def is_any(self) -> bool:
        """Whether every end passes."""
        return self.network is None and self.ports == ANY_PORT

    def passes(self, address: str, port: int) -> bool:
        """Return whether an address, as text, and a port are within."""
        if not self.ports[0] <= port <= self.ports[1]:
            return False
        if self.network is None:
            return True
        found = ipaddress.ip_address(address)
        return found.version == self.network.version and found in self.network


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFilter:
    """What a flow has to be; what is empty lets every flow pass.

    `source` and `target` are two ends in either direction; `local` and `remote` are the socket's own end and the other.
    `cgroup` is a folder of /sys/fs/cgroup; cgroups below it pass, too. `protocol` None: TCP and UDP.
    """

    source: End = End()
    target: End = End()
    local: End = End()
    remote: End = End()
    protocol: Protocol | None = None
    interface: str | None = None
    pid: int | None = None
    comm: str | None = None
    cgroup: str | None = None

    def passes_ends(self, key: FlowKey) -> bool:
        """Return whether a flow's addresses, ports and protocol pass; the kernel's side of it is bpf/filter.h."""
        if self.protocol is not None and key.protocol is not self.protocol:
            return False
        near, far = (key.local, key.local_port), (key.remote, key.remote_port)
        if not (self.local.passes(*near) and self.remote.passes(*far)):
            return False
        return (self.source.passes(*near) and self.target.passes(*far)) or (
            self.source.passes(*far) and self.target.passes(*near)
        )
