"""The scenario file, schema 1, as frozen validated types; field aliases are the file's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from perfcheck.model.bounds import (
    MAX_ADDRESSES,
    MAX_COMMAND,
    MAX_CPU,
    MAX_CPUS,
    MAX_HOSTS,
    MAX_KEY,
    MAX_NAME,
    MAX_SETTINGS,
    MAX_SETUP,
    MAX_SYSCTLS,
    MAX_TEXT,
)  # fmt: skip
from perfcheck.model.impairments import Impairments
from perfcheck.model.label import label_of, point_text
from perfcheck.model.link import LinkSpec
from perfcheck.model.measure import Measure
from perfcheck.model.names import (
    Address,
    Destination,
    EntryName,
    HostName,
    InterfaceName,
    Name,
    NetnsName,
    ProgramName,
)  # fmt: skip
from perfcheck.model.quantities import (
    Flag,
    Frozen,
    Loss,
    Whole,
)  # fmt: skip
from perfcheck.model.setting import Setting
from perfcheck.model.subject import SubjectKind, direction_name
from perfcheck.model.traffic import CommandSpec, Iperf3Spec, ServerSpec, TrafficSpec, entry_names


def _valid_setting(value: str) -> str:
    return Setting.parse(value).text


class HostSpec(Frozen):
    """One host: a network namespace of the lab with its settings, or a real machine's interface.

    A real one is reached over `ssh`, is the namespace `netns` of this machine, or is this machine itself.
    """

    sysctl: dict[Annotated[str, Field(max_length=MAX_KEY)], Annotated[str, Field(max_length=MAX_TEXT)] | Whole] = Field(
        default_factory=dict,
        max_length=MAX_SYSCTLS,
        description="net.* settings of this host's own network namespace, or of the real machine",
        examples=[{"net.ipv4.tcp_rmem": "4096 131072 6291456"}],
        json_schema_extra={"propertyNames": {"pattern": r"^net\.", "maxLength": MAX_KEY}},
    )
    setup: tuple[Annotated[str, Field(max_length=MAX_COMMAND)], ...] = Field(
        default=(),
        max_length=MAX_SETUP,
        description="commands run in this host before traffic, split as a shell splits words, without a shell",
        examples=[["nft add table inet t"]],
    )
    congestion: str | None = Field(
        default=None,
        description="default TCP congestion control",
        examples=["cubic"],
        min_length=1,
        max_length=MAX_NAME,
    )
    cpus: tuple[Annotated[Whole, Field(ge=0, le=MAX_CPU)], ...] | None = Field(
        default=None,
        max_length=MAX_CPUS,
        description="CPUs that this host's processes are pinned to",
        examples=[[0, 1]],
        min_length=1,
    )
    router: Flag = Field(default=False, description="forward packets between this host's links", examples=[True])
    nat: tuple[HostName, ...] = Field(
        default=(),
        max_length=MAX_HOSTS,
        description="neighbours towards which this router does NAT: packets leave with its own address (masquerade)",
        examples=[["internet"]],
    )
    via: dict[HostName, HostName] = Field(
        default_factory=dict,
        max_length=MAX_HOSTS,
        description="packets to that host leave through this neighbour, not by the path with the fewest links",
        examples=[{"server": "satellite"}],
        json_schema_extra={"additionalProperties": False},
    )
    interface: InterfaceName | None = Field(
        default=None,
        description="a real machine instead of a namespace: its interface on the link, with its own address; without "
        "it, beside ssh or netns, the interface that has `address`",
        examples=["eth1"],
    )
    ssh: Destination | None = Field(
        default=None,
        description="where the real machine is: a destination of ssh, or a host of its config; root there",
        examples=["root@192.0.2.7"],
    )
    netns: NetnsName | None = Field(
        default=None,
        description="the real interface is in this network namespace of this machine",
        examples=["peer"],
    )
    address: tuple[Address, ...] = Field(
        default=(),
        max_length=MAX_ADDRESSES,
        description="addresses of the real interface to be used; without it all that it has, but link-local ones",
        examples=[["192.0.2.7"]],
    )
    selftest: Literal["local", "remote"] | None = Field(
        default=None,
        description="a real machine as the kernel's selftests name it: NETIF here (local), or where REMOTE_TYPE and "
        "REMOTE_ARGS say (remote), from the environment or net.config",
        examples=["local"],
    )
    python: ProgramName = Field(
        default="python3",
        description="Python 3.11 or later on the real machine",
        examples=["/opt/perfcheck/bin/python"],
    )
    settings: tuple[Annotated[str, AfterValidator(_valid_setting), Field(max_length=MAX_TEXT)], ...] = Field(
        default=(),
        max_length=MAX_SETTINGS,
        description="settings of the real machine, which are put back afterwards: ethtool -K/-G/-C/-L, modparam, tc, "
        "reload",
        examples=[["ethtool -K eth1 gro off"]],
    )
    teardown: tuple[Annotated[str, Field(max_length=MAX_COMMAND)], ...] = Field(
        default=(),
        max_length=MAX_SETUP,
        description="commands that undo what `setup` does on the real machine, run at the end whatever happens",
        examples=[["nft delete table inet t"]],
    )

    @property
    def is_real(self) -> bool:
        """Whether it is a real machine's interface, not a namespace of the lab."""
        return any(value is not None for value in (self.interface, self.ssh, self.netns, self.selftest))


class Expectation(Frozen):
    """One line of `expect`: a metric, a comparison and a threshold in the metric's own unit."""

    metric: str
    operator: Literal["<=", ">=", "<", ">", "==", "!="]
    threshold: float
    text: str

    def holds(self, actual: float) -> bool:
        """Whether the value satisfies the line."""
        return {
            "<=": actual <= self.threshold,
            ">=": actual >= self.threshold,
            "<": actual < self.threshold,
            ">": actual > self.threshold,
            "==": actual == self.threshold,
            "!=": actual != self.threshold,
        }[self.operator]


class Scenario(Frozen):
    """One runnable scenario: one point of the file's matrix.

    `point` holds the matrix's (key, value) pairs of this point, empty without a matrix; `line`
    and `column` of `expect` entries are kept by the loader, not here. `expected_cause` is the
    cause that `expect: diagnosis:` names (`healthy` for `none`), or None; `expected_causes` are those of single
    traffic entries. `phases_ns` has the begin of each phase in the traffic's time, in that order.
    """

    name: Name
    file: str
    title: str = ""
    tags: tuple[str, ...] = ()
    reference: str | None = None
    hosts: dict[HostName, HostSpec]
    links: tuple[LinkSpec, ...]
    traffic: tuple[TrafficSpec, ...]
    measure: Measure = Measure()
    repeat: int = Field(default=5, ge=1, le=1000)
    warmup_ns: int = 0
    phases_ns: dict[EntryName, int] = Field(default_factory=dict)
    point: tuple[tuple[str, str], ...] = ()
    expect: tuple[Expectation, ...] = ()
    expected_cause: str | None = None
    expected_causes: dict[str, str] = Field(default_factory=dict)
    tolerance_pct: dict[str, float] = Field(default_factory=dict)
    digest: str = ""
    workload_digest: str = ""

    @property
    def is_real(self) -> bool:
        """Whether its hosts are real machines; the file's checks hold that all are or none is."""
        return any(host.is_real for host in self.hosts.values())

    @property
    def label(self) -> str:
        """Name with the matrix point, e.g. `wan[congestion=cubic]`; unique within a file."""
        return label_of(self.name, point_text(self.point))


def subjects_of(scenario: Scenario) -> Mapping[str, SubjectKind]:
    """Return every subject that the scenario has, with its kind."""
    found = dict.fromkeys(entry_names(scenario.traffic), SubjectKind.TRAFFIC)
    found |= dict.fromkeys(scenario.hosts, SubjectKind.HOST)
    for link in scenario.links:
        for source, target in (link.between, link.between[::-1]):
            found[direction_name(source, target)] = SubjectKind.DIRECTION
    return found


__all__ = [
    "CommandSpec", "Expectation", "HostName", "HostSpec", "Impairments", "Iperf3Spec", "LinkSpec", "Loss", "Measure",
    "Name", "Scenario", "ServerSpec", "TrafficSpec",
]  # fmt: skip
