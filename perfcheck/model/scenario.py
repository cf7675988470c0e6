"""The scenario file, schema 1, as frozen validated types; field aliases are the file's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from perfcheck.model.bounds import (
    MAX_COMMAND,
    MAX_CPU,
    MAX_CPUS,
    MAX_HOSTS,
    MAX_KEY,
    MAX_NAME,
    MAX_SETUP,
    MAX_SYSCTLS,
    MAX_TEXT,
)  # fmt: skip
from perfcheck.model.impairments import Impairments
from perfcheck.model.label import label_of, point_text
from perfcheck.model.link import LinkSpec
from perfcheck.model.measure import Measure
from perfcheck.model.names import EntryName, HostName, Name
from perfcheck.model.quantities import (
    Flag,
    Frozen,
    Loss,
    Whole,
)  # fmt: skip
from perfcheck.model.subject import SubjectKind, direction_name
from perfcheck.model.traffic import CommandSpec, Iperf3Spec, ServerSpec, TrafficSpec, entry_names


class HostSpec(Frozen):
    """One host of the lab: a network namespace with its settings."""

    sysctl: dict[Annotated[str, Field(max_length=MAX_KEY)], Annotated[str, Field(max_length=MAX_TEXT)] | Whole] = Field(
        default_factory=dict,
        max_length=MAX_SYSCTLS,
        description="net.* settings of this host's own network namespace",
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
