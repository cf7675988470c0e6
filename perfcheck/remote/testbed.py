"""Real hosts and links for one scenario, or for one side of a comparison; implements model.seams.Testbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.agent import requests as ask
from perfcheck.errors import UsageError
from perfcheck.model.observation import LinkReport
from perfcheck.model.proof import RealLinkProof
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import EmulatedLink, Host, TrafficGenerator
from perfcheck.model.subject import direction_name
from perfcheck.remote.hosts import RealHost
from perfcheck.remote.links import EMULATOR, RealLink
from perfcheck.remote.machines import Machines
from perfcheck.remote.proof import prove_real
from perfcheck.remote.together import together
from perfcheck.system.environment import MACHINE_FIELDS
from perfcheck.version import VERSION

_LINK_FACTS: Final = ("driver", "offloads", "qdisc", "mtu", "speed_mbit")


class RealTestbed:
    """The machines of a scenario as it wants them; several testbeds may take turns on the same machines."""

    def __init__(self, scenario: Scenario, machines: Machines) -> None:
        """Change nothing yet."""
        self._scenario = scenario
        self._machines = machines
        self._specs = dict(scenario.hosts)
        self._links = tuple(
            RealLink(index, self._ends(link.between)) for index, link in enumerate(scenario.links)
        )  # fmt: skip

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts by the file's names."""
        return {name: self._machines.hosts[name] for name in self._scenario.hosts}

    @property
    def links(self) -> tuple[EmulatedLink, ...]:
        """The links in the file's order."""
        return self._links

    @property
    def directions(self) -> Mapping[tuple[str, str], str]:
        """The direction that each interface sends into; one that is on several links has none of its own."""
        found: dict[tuple[str, str], str] = {}
        for name, host in self._machines.hosts.items():
            links = [link.between for link in self._scenario.links if name in link.between]
            if len(links) == 1:
                (other,) = set(links[0]) - {name}
                found[name, host.interface] = direction_name(name, other)
        return found

    @property
    def emulators(self) -> Mapping[str, str]:
        """For the record: all links are real."""
        return {f"links[{index}] {'-'.join(link.between)}": EMULATOR for index, link in enumerate(self._scenario.links)}

    @property
    def carriers(self) -> tuple[int, ...]:
        """The clients of the connections: without one of them its host is gone."""
        return tuple(host.channel.transport.pid for host in self._machines.hosts.values())

    def fingerprint(self) -> Mapping[str, str]:
        """Describe all machines: what they have in common once, and where they differ each one's own."""
        each = {name: host.description.environment for name, host in self._machines.hosts.items()}
        found = {"version.perfcheck": VERSION}
        for field in dict.fromkeys(field for environment in each.values() for field in environment):
            values = {name: environment.get(field, "") for name, environment in each.items()}
            if len(set(values.values())) == 1:
                found[field] = next(iter(values.values()))
                continue
            found |= {f"{name}.{field}": value for name, value in values.items()}
            if field in MACHINE_FIELDS:
                found[field] = " + ".join(values.values())
        return found

    def interfaces(self) -> Mapping[str, str]:
        """For the fingerprint: driver, offloads, qdisc, MTU and speed of each interface as it is now."""
        looks: Mapping[str, ask.Description] = together(
            self._machines.hosts, lambda host: host.channel.ask(ask.Describe(interface=host.interface))
        )
        found: dict[str, str] = {}
        for name, look in looks.items():
            facts = look.interface
            for fact in _LINK_FACTS:
                value = getattr(facts, fact)
                if value not in {None, ""}:
                    found[f"nic.{name}.{facts.name}.{fact}"] = str(value)
        return found

    def check_generator(self, generator: TrafficGenerator) -> None:
        """Ask nothing of this machine: each host is asked for the programs that it runs."""

    def prove(self) -> Sequence[RealLinkProof]:
        """Measure all links, with the machines set up as they were."""
        return [
            prove_real(index, self._ends(link.between), link.mtu if "mtu" in link.model_fields_set else None)
            for index, link in enumerate(self._scenario.links)
        ]

    def apply_settings(self) -> None:
        """Set the machines up as the file says, until another testbed's trial begins."""
        self._machines.activate(self._specs)

    def favour(self, nice: int) -> None:
        """Start the hosts' processes with this nice value from now on."""
        for host in self._machines.hosts.values():
            host.nice = nice

    def lengthen_backlogs(self) -> None:
        """Refuse: what listens on a real machine is not all ours."""
        raise UsageError("a cause cannot be tested on real machines: what is relieved there is not all perfcheck's")

    def begin_trial(self, index: int) -> None:
        """Start a trial: this side's settings, routes without memory, counters read."""
        self.apply_settings()
        together(self._machines.hosts, lambda host: host.channel.ask(ask.ForgetRoutes()))
        for link in self._links:
            link.begin_trial(index)

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions of each link, in the file's order."""
        return tuple(report for link in self._links for report in link.end_trial())

    def _ends(self, between: tuple[str, str]) -> tuple[RealHost, RealHost]:
        return self._machines.hosts[between[0]], self._machines.hosts[between[1]]
