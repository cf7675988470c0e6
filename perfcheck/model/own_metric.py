"""Metrics of an application's own, which a `command` reports: how a file declares them, and what a record keeps."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from perfcheck.model.bounds import MAX_OWN_METRICS, MAX_TEXT
from perfcheck.model.catalogue import CATALOGUE, Catalogue
from perfcheck.model.metric import STATS, DecidedBy, Direction, Layer, MetricSpec
from perfcheck.model.quantities import Frozen
from perfcheck.model.subject import SubjectKind
from perfcheck.model.units import MAX_QUANTITY_CHARACTERS, shown, split_quantity

OwnUnit = Literal["us", "bps", "per_s", "count", "pct", "bytes"]
KEPT_AS: Final[Mapping[str, OwnUnit]] = {
    "us": "us", "ms": "us", "s": "us", "bps": "bps", "per_s": "per_s", "count": "count", "pct": "pct", "bytes": "bytes",
}  # fmt: skip
"""The unit in which perfcheck keeps a figure, by the unit in which the application reports it."""

MAX_NAME: Final = 64
MAX_MARGIN_PCT: Final = 1000.0
_NAME: Final = rf"app\.[a-z][a-z0-9_]*_(?P<unit>us|bps|per_s|count|pct|bytes)(\.({'|'.join(STATS)}))?"
NAME_PATTERN: Final = _NAME.replace("?P<unit>", "")
"""A regular expression for the names, as JSON Schema has them."""
_EXAMPLE: Final = "app.redis_get_us.p99"
_DEFAULT_MARGIN_PCT: Final = 5.0


def is_own_name(name: str) -> bool:
    """Return whether an application's own metric could have this name."""
    return _match(name) is not None and name not in CATALOGUE


def may_be_own(key: str) -> bool:
    """Return whether a key, of the run or a subject, could be of an own metric; only files say which there are."""
    return is_own_name(re.split("[@/]", key, maxsplit=1)[0])


def own_unit(name: str) -> OwnUnit:
    """Return the unit that the name of an own metric carries; ValueError where it carries none."""
    match = _match(name)
    if match is None:
        raise ValueError(_wanted(name))
    return KEPT_AS[match["unit"]]


def _match(name: str) -> re.Match[str] | None:
    return re.fullmatch(_NAME, name) if len(name) <= MAX_NAME else None


def _wanted(name: str) -> str:
    units, stats = ", ".join(dict.fromkeys(KEPT_AS.values())), ", ".join(STATS)
    return (
        f"expected a name such as {_EXAMPLE}: app., a quantity, _ and one of {units}, and after a dot one of {stats} "
        f"or nothing; got {shown(name)}"
    )


def _valid_name(name: str) -> str:
    own_unit(name)
    if name in CATALOGUE:
        raise ValueError(f"{name} is a metric of perfcheck itself; give the application's own figure another name")
    return name


def _margin_pct(value: object) -> float:
    parts = split_quantity(value)
    if isinstance(value, bool) or parts is None or parts[1] != "%" or parts[0] > MAX_MARGIN_PCT:
        raise ValueError(f"expected a percentage such as 5%, at most {MAX_MARGIN_PCT:g}%, got {shown(value)}")
    return parts[0]


OwnName = Annotated[str, AfterValidator(_valid_name)]
MarginPct = Annotated[
    float,
    BeforeValidator(_margin_pct),
    WithJsonSchema({
        "type": "string", "maxLength": MAX_QUANTITY_CHARACTERS,
        "pattern": r"^\s*[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*(%)\s*$",
    }),
]  # fmt: skip


class OwnMetric(Frozen):
    """Where a figure stands in a command's standard output, and what it is worth."""

    at: str = Field(
        min_length=1,
        max_length=MAX_TEXT,
        examples=["latency.p99"],
        description="where it stands. json, jsonl: keys joined by dots, or a JSON pointer (/latency/p99); csv: the "
        "column's name; regex: a regular expression with one group, or a group named value, tried on each line",
    )
    row: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEXT,
        examples=["GET"],
        description="csv: the text in the first column of the row that counts; default: all rows",
    )
    unit: Literal["us", "ms", "s", "bps", "per_s", "count", "pct", "bytes"] = Field(
        examples=["ms"],
        description="the unit of a bare number; ms and s are kept as us. In csv and regex a text may carry a unit of "
        "its own (1.5ms, 20mbit, 4kb)",
    )
    better: Literal["lower", "higher", "neither"] = Field(
        examples=["lower"], description="which way it gets better; neither: it never regresses by itself"
    )
    take: Literal["last", "first", "mean", "min", "max", "sum"] = Field(
        default="last", examples=["mean"], description="what is made of several values"
    )
    margin_pct: MarginPct = Field(
        default=_DEFAULT_MARGIN_PCT,
        alias="margin",
        examples=["10%"],
        description="a smaller change from the baseline is not a regression; `tolerance` overrides it",
    )


class ReportSpec(Frozen):
    """What a command reports of itself on its standard output: metrics of its own."""

    format: Literal["json", "jsonl", "csv", "regex"] = Field(
        examples=["json"],
        description="what the standard output is: one JSON value, one in each line, a table with its columns' names "
        "first, or any text",
    )
    metrics: dict[OwnName, OwnMetric] = Field(
        min_length=1,
        max_length=MAX_OWN_METRICS,
        description="figures by the names of the metrics that they become",
        examples=[{_EXAMPLE: {"at": "latency.p99", "unit": "us", "better": "lower"}}],
        json_schema_extra={"propertyNames": {"pattern": f"^{NAME_PATTERN}$", "maxLength": MAX_NAME}},
    )

    @model_validator(mode="after")
    def _coherent(self) -> ReportSpec:
        mistakes = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{error}", {"error": message}),
                loc=("metrics", name, key), input=getattr(metric, key),
            )
            for name, metric in self.metrics.items()
            for key, message in _mistakes(self.format, name, metric)
        ]  # fmt: skip
        if mistakes:
            raise ValidationError.from_exception_data("report", mistakes)
        return self


def _mistakes(form: str, name: str, metric: OwnMetric) -> Iterator[tuple[str, str]]:
    """Yield a key and what is wrong with its value, as far as other keys decide that."""
    kept = own_unit(name)
    if KEPT_AS[metric.unit] != kept:
        units = " or ".join(unit for unit, kept_as in KEPT_AS.items() if kept_as == kept)
        yield "unit", f"the name {name} says {kept}: expected {units}, got {metric.unit!r}"
    if metric.row is not None and form != "csv":
        yield "row", f"only format: csv has rows, and this is {form}"
    try:
        if form == "regex":
            pattern_of(metric.at)
        elif form in ("json", "jsonl"):
            path_of(metric.at)
    except ValueError as error:
        yield "at", str(error)


def path_of(at: str) -> tuple[str, ...]:
    """Return the steps of a dotted path or a JSON pointer (RFC 6901); ValueError says what one looks like."""
    if at.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in at[1:].split("/")]
    else:
        parts = at.split(".")
    if not all(parts):
        raise ValueError(f"expected keys joined by dots such as latency.p99, or a JSON pointer, got {shown(at)}")
    return tuple(parts)


def pattern_of(at: str) -> re.Pattern[str]:
    """Return the regular expression of a figure; ValueError where it is none, or no single group holds the figure."""
    try:
        with warnings.catch_warnings(action="ignore"):
            found = re.compile(at, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression, got {shown(at)}: {error}") from None
    if "value" not in found.groupindex and found.groups != 1:
        raise ValueError(
            f"expected one group, or a group (?P<value>...), that holds the figure, got {found.groups} groups"
        )
    return found


class OwnMetricRecord(Frozen):
    """What a record keeps of an own metric, so that it can be judged and shown without the scenario's file."""

    unit: OwnUnit
    better: Literal["lower", "higher", "neither"]
    margin_pct: float = Field(default=_DEFAULT_MARGIN_PCT, ge=0, le=MAX_MARGIN_PCT, allow_inf_nan=False)


def recorded(name: str, metric: OwnMetric) -> OwnMetricRecord:
    """Return what records keep of a metric that a file declares."""
    return OwnMetricRecord(unit=own_unit(name), better=metric.better, margin_pct=metric.margin_pct)


def with_own(own: Mapping[str, OwnMetricRecord]) -> Catalogue:
    """Return the catalogue with an application's own metrics, which come first; perfcheck's own names stay its."""
    specs = [_spec(name, metric) for name, metric in own.items() if is_own_name(name)]
    return Catalogue((*specs, *CATALOGUE.values())) if specs else CATALOGUE


def _spec(name: str, metric: OwnMetricRecord) -> MetricSpec:
    """Return the declaration; what decides the figure only its application knows, so it is taken to be the machine."""
    direction = Direction(metric.better)
    return MetricSpec(
        name=name, unit=metric.unit, layer=Layer.APP, direction=direction, decided_by=DecidedBy.MACHINE,
        meaning="the application's own figure", source_text="the command's standard output", needs=("command",),
        margin_pct=metric.margin_pct, floor=_FLOORS.get(metric.unit, 0.0), compared=direction is not Direction.NEITHER,
        computed="of several commands: counts add up, of anything else the worst counts",
        subjects=(SubjectKind.TRAFFIC,),
    )  # fmt: skip


_FLOORS: Final[Mapping[str, float]] = {"count": 0.5}
"""From 0 to 1 error is a change."""
