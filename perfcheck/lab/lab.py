"""The lab: hosts and links of one scenario, created at the start of the `with` block and removed at its end."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from perfcheck.errors import LabError
from perfcheck.lab import interfaces, network, settings
from perfcheck.lab.choice import PLAIN, choose
from perfcheck.lab.hosts import LabHost, check_cpus
from perfcheck.lab.links.probe import Side, prove
from perfcheck.lab.links.relay.emulator import RelayLink
from perfcheck.lab.network import Carrier
from perfcheck.lab.topology import End, Topology, lay_out
from perfcheck.model.observation import LinkReport
from perfcheck.model.proof import LinkProof
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import EmulatedLink, LinkEmulator, LinkEnd, TrafficGenerator
from perfcheck.model.subject import direction_name
from perfcheck.system import cgroup, commands, sysctl
from perfcheck.system.clock import wait_until
from perfcheck.system.environment import fingerprint
from perfcheck.system.journal import Journal
from perfcheck.system.listeners import lengthen_backlogs
from perfcheck.system.netns import NetnsThread, path_of
from perfcheck.system.signals import deferred_signals

CARRIER_TIMEOUT_S: Final = 5.0
SETTLING_TIMEOUT_S: Final = 0.05
QUIET_TIMEOUT_S: Final = 0.2
SETUP_TIMEOUT_S: Final = 30.0
NAT_RULES: Final = (
    "add table inet perfcheck-nat;"
    " add chain inet perfcheck-nat out {{ type nat hook postrouting priority 100; policy accept; }};"
    " add rule inet perfcheck-nat out oifname {{ {devices} }} masquerade"
)


def plan(scenario: Scenario, emulators: Mapping[str, LinkEmulator]) -> tuple[Topology, tuple[LinkEmulator, ...]]:
    """Lay a lab out and choose who carries each link, without making anything.

    Raises InvalidLink for a link that no emulator here can carry, LabError for other things that
    cannot be had.
    """
    topology = lay_out(scenario.hosts, scenario.links, ipv6=Path("/proc/sys/net/ipv6").exists())
    for name, spec in scenario.hosts.items():
        check_cpus(name, spec.cpus)
        for key in spec.sysctl:
            settings.check_key(name, key)
    return topology, choose(topology.links, emulators)


class Lab:
    """Hosts as network namespaces `pc-<tag>-<host>`, joined by links; nothing leads out of it.

    Everything is noted in the journal before it is made, and leaving the block undoes the whole
    journal: the same code that `perfcheck clean` runs after a SIGKILL. What the file asks for
    and cannot be had is refused before anything is made.

    On entering, the hosts are plain: `prove` then finds the links alone. `apply_settings` brings
    the hosts' own settings up, which may shape, police or drop.

    Example:
        >>> with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:  # doctest: +SKIP
        ...     lab.prove()
        ...     lab.apply_settings()
        ...     lab.hosts["client"].run(["ping", "-c1", lab.hosts["server"].address_towards("client")])
    """

    def __init__(
        self, scenario: Scenario, journal: Journal, emulators: Mapping[str, LinkEmulator], *, host_wide: bool = False
    ) -> None:
        """Plan the lab; nothing is made yet.

        `host_wide` permits sysctls that belong to the whole machine; they are put back at the end.
        Raises what `plan` raises.
        """
        self._journal = journal
        self._host_wide = host_wide
        self._topology, self._chosen = plan(scenario, emulators)
        self._thread = NetnsThread()
        self._hosts: dict[str, LabHost] = {}
        self._links: list[EmulatedLink] = []
        self._route_congestion: dict[str, str] = {}
        self._group: Path | None = None

    @property
    def tag(self) -> str:
        """The random tag in all names of this lab."""
        return self._journal.tag

    @property
    def hosts(self) -> Mapping[str, LabHost]:
        """The hosts by the file's names, once the lab is up."""
        return self._hosts

    @property
    def links(self) -> tuple[EmulatedLink, ...]:
        """The links in the file's order, once the lab is up."""
        return tuple(self._links)

    @property
    def directions(self) -> Mapping[tuple[str, str], str]:
        """The link's direction that each host's interface sends into, by host and interface name."""
        return {
            (end.host, end.ifname): direction_name(end.host, link.end_opposite(end.host).host)
            for link in self._topology.links
            for end in link.ends
        }

    @property
    def emulators(self) -> Mapping[str, str]:
        """For the record: the emulator's name of each link, e.g. `{"links[0] client-server": "relay"}`."""
        return {link.label: emulator.name for link, emulator in zip(self._topology.links, self._chosen, strict=True)}

    @property
    def carriers(self) -> tuple[int, ...]:
        """The processes that carry links in user space."""
        return tuple(link.pid for link in self._links if isinstance(link, RelayLink))

    def fingerprint(self) -> Mapping[str, str]:
        """Describe this machine, which all hosts share."""
        return fingerprint()

    def check_generator(self, generator: TrafficGenerator) -> None:
        """Raise Unavailable where this machine lacks the generator."""
        generator.check()

    def interfaces(self) -> Mapping[str, str]:
        """For the fingerprint: driver, offloads and qdisc of the hosts' interfaces, e.g. `nic.client.eth0.driver`."""
        found: dict[str, str] = {}
        for name, host in self._hosts.items():
            known = self._thread.netlink(host.netns_path, interfaces.qdiscs, what=f"listing interfaces of {name}")
            for ifname, qdisc in known.items():
                facts = host.inside(partial(interfaces.driver_and_offloads, ifname))
                found |= {f"nic.{name}.{ifname}.{key}": value for key, value in facts.items()}
                found[f"nic.{name}.{ifname}.qdisc"] = qdisc
        return found

    def __enter__(self) -> Self:
        """Build the lab; what was made is undone where that fails or is interrupted."""
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo everything."""
        self.close()

    def prove(self) -> tuple[LinkProof, ...]:
        """Send a short train through each link that impairs; InvalidLink where one is not what the file asks for.

        To be called before `apply_settings`: what a host's own settings do to packets is not the link's doing.
        """
        proofs = []
        for link, emulator, up in zip(self._topology.links, self._chosen, self._links, strict=True):
            if emulator.name == PLAIN:
                continue
            first, second = (
                Side(netns_path=self._hosts[end.host].netns_path, address=end.addresses[0]) for end in link.ends
            )
            proofs.append(prove(link.index, emulator.name, link.spec, up, (first, second), self._thread))
        return tuple(proofs)

    def apply_settings(self) -> None:
        """Write the hosts' sysctls, set up address translation, run `setup`; LabError says what failed."""
        for name in self._topology.hosts:
            self._write_sysctls(name)
            self._wait_until_quiet(name)
        for name in self._topology.hosts:
            self._translate_addresses(name)
        for name, spec in self._topology.hosts.items():
            for command in spec.setup:
                self._run_setup(self._hosts[name], command)

    def favour(self, nice: int) -> None:
        """Start the hosts' processes with this nice value from now on; what `setup` left running keeps its own."""
        for host in self._hosts.values():
            host.nice = nice

    def lengthen_backlogs(self) -> None:
        """Have every server listen with the longest accept queue: those that listen, and those to be waited for."""
        for host in self._hosts.values():
            lengthen_backlogs(host.netns_path)
            host.long_backlogs = True

    def begin_trial(self, index: int) -> None:
        """Start a trial: counters to 0, loss patterns back to their seeds, what routes have learned forgotten."""
        for host in self._hosts.values():
            host.inside(settings.flush_routes)
        for link in self._links:
            link.begin_trial(index)

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions of each link, in the file's order, forward first."""
        return tuple(report for link in self._links for report in link.end_trial())

    def close(self) -> None:
        """Take links and hosts down and end their processes; safe to call twice. Signals are held back meanwhile."""
        with deferred_signals(), contextlib.ExitStack() as stack:
            # Last in, first out; each is done even where another fails.
            for host in self._hosts.values():
                stack.callback(host.reap)
            stack.callback(self._journal.undo)
            stack.callback(self._thread.close)
            stack.callback(self._leave_group)
            for link in self._links:
                stack.callback(link.close)
            self._links = []

    # building

    def _build(self) -> None:
        self._enter_group()
        for name in self._topology.hosts:
            self._make_host(name)
        for link, emulator in zip(self._topology.links, self._chosen, strict=True):
            ends = (self._link_end(link.ends[0]), self._link_end(link.ends[1]))
            self._links.append(emulator.up(link.index, link.spec, ends, self._journal))
        for name in self._topology.hosts:
            self._configure_network(name)
        for name in self._topology.hosts:
            for link in self._topology.links_of(name):
                self._wait_for_carrier(name, link.end_of(name).ifname)
            self._wait_until_quiet(name)

    def _wait_until_quiet(self, name: str) -> None:
        wait_until(partial(self._hosts[name].inside, settings.quiet), timeout_s=QUIET_TIMEOUT_S)

    def _enter_group(self) -> None:
        """Have all processes of the lab born in a control group of its own, where this machine allows that."""
        group = cgroup.make(self._journal)
        if group is not None:
            self._group = self._thread.call(partial(cgroup.enter, group))

    def _leave_group(self) -> None:
        if self._group is not None:
            self._thread.call(partial(cgroup.leave, self._group))
            self._group = None

    def _make_host(self, name: str) -> None:
        netns_name = f"pc-{self.tag}-{name}"
        self._thread.create(netns_name, self._journal)
        host = LabHost(name, path_of(netns_name), self._topology, self._thread, self._journal)
        self._hosts[name] = host
        self._prepare(host)

    def _prepare(self, host: LabHost) -> None:
        """Write what the links need, and what interfaces and routes take over when they are made."""
        spec = self._topology.hosts[host.name]
        host.inside(lambda: settings.write_defaults(spec))
        congestion = settings.wanted_congestion(spec)
        if congestion is not None and not host.inside(lambda: settings.set_congestion(host.name, congestion)):
            self._route_congestion[host.name] = congestion
        for key, value in settings.file_sysctls(spec).items():
            if settings.is_inherited(key) and host.inside(partial(settings.is_own, key)):
                settings.set_own(host.name, key, value, host.inside)

    def _write_sysctls(self, name: str) -> None:
        host = self._hosts[name]
        for key, value in settings.file_sysctls(self._topology.hosts[name]).items():
            if host.inside(partial(settings.is_own, key)):
                settings.set_own(name, key, value, host.inside)
            elif sysctl.path_of(key).exists():
                sysctl.set_host_wide(self._journal, key, value, permitted=self._host_wide)
            else:
                raise LabError(f"host {name}: this kernel has no sysctl {key}")

    def _link_end(self, end: End) -> LinkEnd:
        return LinkEnd(host=end.host, netns_path=self._hosts[end.host].netns_path, ifname=end.ifname)

    def _configure_network(self, name: str) -> None:
        congestion = self._route_congestion.get(name)
        path = self._hosts[name].netns_path
        self._thread.netlink(path, network.bring_loopback_up, what=f"host {name}: bringing lo up")
        self._thread.netlink(
            path, lambda ip: network.configure(ip, self._topology, name, congestion), what=f"host {name}: addresses"
        )

    def _wait_for_carrier(self, name: str, ifname: str) -> None:
        def state() -> Carrier:
            look = partial(network.carrier, ifname=ifname)
            return self._thread.netlink(self._hosts[name].netns_path, look, what=f"host {name}: {ifname}")

        settled = wait_until(lambda: state() is Carrier.SETTLED, timeout_s=SETTLING_TIMEOUT_S)
        if not settled and not wait_until(lambda: state() is not Carrier.ABSENT, timeout_s=CARRIER_TIMEOUT_S):
            raise LabError(f"host {name}: {ifname} did not come up within {CARRIER_TIMEOUT_S:g} s")

    def _translate_addresses(self, name: str) -> None:
        """Have a router masquerade what it forwards to the neighbours that `nat` names, in its own namespace."""
        neighbours = self._topology.hosts[name].nat
        if not neighbours:
            return
        links = [link for link in self._topology.links_of(name) if link.end_opposite(name).host in neighbours]
        devices = ", ".join(f'"{link.end_of(name).ifname}"' for link in links)
        rules = NAT_RULES.format(devices=devices)
        done = self._hosts[name].run([commands.find("nft"), rules], timeout_s=SETUP_TIMEOUT_S)
        if done.returncode != 0:
            raise LabError(f"host {name}: nat: {commands.failure(done)}")

    def _run_setup(self, host: LabHost, command: str) -> None:
        try:
            argv = shlex.split(command)
        except ValueError as wrong:
            raise LabError(f"host {host.name}: setup `{command}`: {wrong}") from None
        done = host.run(argv, timeout_s=SETUP_TIMEOUT_S)
        if done.returncode != 0:
            raise LabError(f"host {host.name}: setup {commands.failure(done)}")
