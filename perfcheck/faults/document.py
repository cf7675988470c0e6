"""The data files of the fault matrix, as frozen validated types; field aliases are the files' keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from perfcheck.model.names import Family
from perfcheck.model.quantities import LinkDelayNs, LinkRateBps

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
"""A name: of a path, a load, an injector or a severity. Joined by `/`, they name a combination."""
Means = Literal[
    "nft", "tbf", "htb", "relay", "sysctl", "route", "mtu", "sockopt", "program", "cgroup", "scheduler", "traffic",
    "listener", "schedule", "several", "none",
]  # fmt: skip
"""What an injector works with."""
Figure = int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class PathSpec(_Part):
    """A path between client and server: `rtt` of its delays, `rate` and a queue of `queue_bdp` at its bottleneck.

    With `router` a host that forwards stands between the two. `pinned` puts all hosts on one CPU.
    """

    name: Word
    fit: bool = True
    rtt_ns: LinkDelayNs = Field(alias="rtt")
    rate_bps: LinkRateBps | None = Field(default=None, alias="rate")
    queue_bdp: float | None = Field(default=None, gt=0, le=100)
    router: bool = True
    family: Family = "ipv4"
    nat: bool = False
    cpus: tuple[int, ...] | None = None
    warmup: str = "500ms"

    @model_validator(mode="after")
    def _queue_needs_rate(self) -> Self:
        if (self.queue_bdp is None) != (self.rate_bps is None):
            raise ValueError("expected queue_bdp where there is a rate, and nowhere else")
        return self


class LoadSpec(_Part):
    """What runs over a path; `entry` is a generator's key and values. `reverse`: the server sends the data.

    A load that is not `exemplary` is no example of a healthy run, only one to compare with.
    """

    name: Word
    fit: bool = True
    congestion: str | None = None
    reverse: bool = False
    warmup: str | None = None
    exemplary: bool = True
    entry: Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)]


class Changes(_Part):
    """What an injection changes of a healthy scenario.

    `hosts` is merged into the hosts (lists are lengthened), `link` into the path's bottleneck, `first` into the link
    before it, `load` into the load's own values. `links` and `traffic` are added at the end.
    """

    hosts: dict[str, dict[str, Any]] = Field(default_factory=dict)
    link: dict[str, Any] = Field(default_factory=dict)
    first: dict[str, Any] = Field(default_factory=dict)
    load: dict[str, Any] = Field(default_factory=dict)
    links: list[dict[str, Any]] = Field(default_factory=list)
    traffic: list[dict[str, Any]] = Field(default_factory=list)


class InjectorSpec(_Part):
    """One way to make a cause: its means, where it shows, and how strong it can be.

    Of `paths` x `loads` x `severities` each is a combination. `drop_reason` names the kernel's reason by which the
    injector itself could be recognised (a diagnosis is also judged with these masked).
    """

    name: Word
    means: Means
    fit: bool = True
    paths: Annotated[tuple[Word, ...], Field(min_length=1)]
    loads: Annotated[tuple[Word, ...], Field(min_length=1)]
    severities: dict[Word, dict[str, Figure]] = {"as-is": {}}
    changes: Changes = Changes()
    drop_reason: str | None = None


class PairSpec(_Part):
    """Two injectors at once, each with one of its severities."""

    name: Word
    fit: bool = True
    faults: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    """Each `cause/injector/severity`."""
    paths: Annotated[tuple[Word, ...], Field(min_length=1)]
    loads: Annotated[tuple[Word, ...], Field(min_length=1)]


class FaultDocument(_Part):
    """A file of the matrix: exactly one of its keys."""

    paths: tuple[PathSpec, ...] = ()
    loads: tuple[LoadSpec, ...] = ()
    cause: str | None = None
    faults: tuple[InjectorSpec, ...] = ()
    pairs: tuple[PairSpec, ...] = ()


Values = Mapping[str, Figure]
"""What a text of a file may name in braces."""
