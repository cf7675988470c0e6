"""What the builds of a campaign measure: sets of scenarios, and known regressions in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.model.quantities import Loss
from perfcheck.model.scenario import LinkSpec, Scenario

SCENARIOS: Final = Path(__file__).parent / "campaign"
RMEM: Final = "net.ipv4.tcp_rmem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A known regression, put into the one scenario that shows it.

    Where it concerns a part of the run, all of `items` have to be REGRESSED and none of `others`, which are the
    figures of the other parts. The whole run's own figures may move with the part.
    """

    name: str
    scenario: str
    change: Callable[[Scenario], Scenario]
    items: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSet:
    """Scenarios of one folder, the faults that are put into them, and a sentence on both."""

    name: str
    faults: tuple[Fault, ...]
    about: str

    @property
    def folder(self) -> Path:
        """Where its scenarios are."""
        return SCENARIOS / self.name


def _with_link(scenario: Scenario, change: Callable[[LinkSpec], dict[str, object]]) -> Scenario:
    links = tuple(link.model_copy(update=change(link)) for link in scenario.links)
    return scenario.model_copy(update={"links": links})


def _double_loss(link: LinkSpec) -> dict[str, object]:
    loss = link.loss or Loss()
    return {"loss": loss.model_copy(update={"p_pct": 2 * loss.p_pct})}


def _half_rmem(scenario: Scenario) -> Scenario:
    hosts = {}
    for name, host in scenario.hosts.items():
        sizes = str(host.sysctl.get(RMEM, "")).split()
        halved = {RMEM: " ".join([sizes[0], *(str(int(size) // 2) for size in sizes[1:])])} if sizes else {}
        hosts[name] = host.model_copy(update={"sysctl": {**host.sysctl, **halved}})
    return scenario.model_copy(update={"hosts": hosts})


def _longer_outage(link: LinkSpec) -> dict[str, object]:
    """Lengthen the time without a rate by 30 %, and so the time until the transfer is back."""
    began, ended = link.schedule or ()
    at_ns = began.at_ns + round(1.3 * (ended.at_ns - began.at_ns))
    return {"schedule": (began, ended.model_copy(update={"at_ns": at_ns}))}


def _slower_access(link: LinkSpec) -> dict[str, object]:
    """Add 3 ms to a round trip over the requests' own link: 10 % of their 99th percentile, 30 ms."""
    return {"delay_ns": (link.delay_ns or 0) + 1_500_000} if "web" in link.between else {}


WHOLE: Final = CampaignSet(name="whole", about="Each fault changes the whole run.", faults=(
    Fault(name="rate - 5 %", scenario="short-bulk",
          change=lambda made: _with_link(made, lambda link: {"rate_bps": round(0.95 * (link.rate_bps or 0))})),
    Fault(name="delay + 5 %", scenario="short-bulk",
          change=lambda made: _with_link(made, lambda link: {"delay_ns": round(1.05 * (link.delay_ns or 0))})),
    Fault(name="loss x 2", scenario="short-loss", change=lambda made: _with_link(made, _double_loss)),
    Fault(name="rmem halved", scenario="short-rmem", change=_half_rmem),
))  # fmt: skip

PARTS: Final = CampaignSet(
    name="parts",
    about="Each fault concerns one phase or one traffic entry: its items have to fail, and no item of the other.",
    faults=(
        Fault(name="recovery 30 % slower", scenario="short-outage",
              change=lambda made: _with_link(made, _longer_outage),
              items=("app.recovery_ms@bulk/outage",),
              others=("app.throughput_bps@bulk/before", "app.throughput_bps@bulk/after")),
        Fault(name="p99 of requests + 10 %", scenario="short-rpc", change=lambda made: _with_link(made, _slower_access),
              items=("app.latency_us.p99@rpc",),
              others=("app.throughput_bps@bulk", "tcp.rtt_us.p50@bulk", "tcp.retrans_pct@bulk")),
    ),
)  # fmt: skip

SETS: Final = {each.name: each for each in (WHOLE, PARTS)}
