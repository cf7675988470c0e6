"""The `measure` block of the scenario file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from perfcheck.model.names import HostName
from perfcheck.model.quantities import Frozen, IntervalNs, Percent, Whole


class PacketFilter(Frozen):
    """Whose packets detail mode follows; what is not said does not matter."""

    protocol: Literal["tcp", "udp"] | None = Field(default=None, description="only this protocol", examples=["tcp"])
    port: Whole | None = Field(
        default=None, ge=1, le=65535, description="only packets with this port at either end", examples=[5201]
    )
    host: HostName | None = Field(
        default=None, description="only packets from or to this host's addresses", examples=["server"]
    )


class Measure(Frozen):
    """What is measured: the layers and the mode of the core."""

    layers: Literal["all"] | tuple[Literal["app", "socket", "tcp", "udp", "ip", "qdisc", "nic", "cpu"], ...] = Field(
        default="all", examples=["all", ["app", "tcp"]], description="layers whose collectors run"
    )
    mode: Literal["summary", "detail", "both", "cost"] = Field(
        default="summary",
        examples=["detail"],
        description="summary: figures aggregated in the kernel; detail: the paths of packets, with TCP's layer; both; "
        "cost: instructions of the load in a guest of the kernel lab, and nothing else (docs/kernels.md)",
    )
    filter: PacketFilter | None = Field(
        default=None,
        description="packets that detail mode follows",
        examples=[{"protocol": "tcp", "port": 5201}],
    )
    budget_pct: Percent | None = Field(
        default=None,
        alias="budget",
        description="share of one CPU that measuring may use, also while traffic runs; above it the core measures "
        "less, detail mode first (default: 1% in summary mode and 25% in detail mode, checked only "
        "while no traffic runs)",
        examples=["10%"],
    )
    interval_ns: IntervalNs = Field(
        default=100_000_000,
        alias="interval",
        description="time between two samples of the time series that --series writes",
        examples=["100ms"],
    )
