"""Declares the metrics of the layers other than TCP: one line for each metric, one call for each source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perfcheck.model.metric import DecidedBy, Direction, Layer, MetricSpec, Phased
from perfcheck.model.subject import SubjectKind

LOWER: Final = Direction.LOWER
NEITHER: Final = Direction.NEITHER
OF_TRAFFIC: Final = (SubjectKind.TRAFFIC,)
OF_HOST: Final = (SubjectKind.HOST,)
OF_DIRECTION: Final = (SubjectKind.DIRECTION,)
_STATS: Final = {
    "p50": "median", "p90": "90th percentile", "p99": "99th percentile", "p999": "99.9th percentile", "mean": "mean",
    "min": "smallest", "max": "largest",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where metrics come from: what is read and by which hooks (as in MetricSpec), by which collector, and whose it is.

    `subjects` are the kinds of subject whose own figures the source gives, `phased` says whether it tells phases apart.
    `part` is what that collector reads on some machines only, by the name of its check.
    """

    text: str
    needs: str
    hooks: tuple[str, ...] = ()
    part: str = ""
    decided_by: DecidedBy = DecidedBy.MACHINE
    host_wide: bool = False
    subjects: tuple[SubjectKind, ...] = ()
    phased: Phased = Phased.ALSO


def metric(
    name: str, unit: str, meaning: str, source: Source, direction: Direction = LOWER, *, floor: float = 0.0,
    margin_pct: float = 25.0, overruns: bool = False,
) -> MetricSpec:  # fmt: skip
    """Declare one metric; the part of its name before the first dot is its layer."""
    return MetricSpec(
        name=name, unit=unit, layer=Layer(name.partition(".")[0]), direction=direction, decided_by=source.decided_by,
        meaning=f"{meaning} (whole machine)" if source.host_wide else meaning, source_text=source.text,
        hooks=source.hooks, needs=(source.needs, source.part) if source.part else (source.needs,),
        margin_pct=margin_pct, floor=floor, host_wide=source.host_wide, overruns=overruns, subjects=source.subjects,
        phased=source.phased,
    )  # fmt: skip


def count(name: str, meaning: str, source: Source, direction: Direction = LOWER) -> MetricSpec:
    """Declare a number of events or things; one more or less is of no interest."""
    return metric(name, "count", meaning, source, direction, floor=1.0)


def distribution(
    name: str, unit: str, stats: str, meaning: str, source: Source, direction: Direction = LOWER, *,
    floor: float = 0.0, overruns: bool = False,
) -> Iterator[MetricSpec]:  # fmt: skip
    """Declare the stats (words of model.metric.STATS) of a quantity, one metric each."""
    for stat in stats.split():
        yield metric(
            f"{name}.{stat}", unit, f"{meaning}, {_STATS[stat]}", source, direction, floor=floor, overruns=overruns
        )
