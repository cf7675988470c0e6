"""The scenario file's own top level (schema 1), and its JSON Schema for editors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from perfcheck.model.bounds import (
    MAX_HOSTS,
    MAX_KEY,
    MAX_LINKS,
    MAX_NAME,
    MAX_PHASES,
    MAX_POINTS,
    MAX_TAGS,
    MAX_TEXT,
    MAX_TRAFFIC,
)  # fmt: skip
from perfcheck.model.names import EntryName
from perfcheck.model.quantities import Flag, Frozen, ScheduleNs, TimeNs, Whole
from perfcheck.model.scenario import HostName, HostSpec, LinkSpec, Measure, Name, Scenario, TrafficSpec
from perfcheck.model.traffic import GENERATORS
from perfcheck.scenario.expectations import ExpectBlock, Expected, ToleranceBlock
from perfcheck.scenario.notation import duration_text, percent_text, size_text
from perfcheck.system.place import Loc

MATRIX_KEY: Final = (
    r"^((hosts\.)?[a-z][a-z0-9-]*\.(sysctl\..+|congestion|router)"
    r"|links(\[[0-9]+\]|\.[0-9]+)\..+|traffic(\[[0-9]+\]|\.[0-9]+)\.(iperf3|http|sockperf|connections|load|command)\..+)$"
)

MatrixValues = Annotated[
    tuple[Annotated[str, Field(max_length=MAX_TEXT)] | Whole | Flag, ...], Field(min_length=1, max_length=MAX_POINTS)
]


def _one_word(value: str) -> str:
    if not value or any(character.isspace() or character == "," for character in value):
        raise ValueError(f"expected one word, got {value!r}")
    return value


class ScenarioDocument(Frozen):
    """A network performance scenario: hosts, links, traffic, and what is expected of them (perfcheck, schema 1)."""

    scenario: Name = Field(description="name of the scenario, unique in its folder", examples=["wan-bulk-download"])
    title: str = Field(
        default="",
        max_length=MAX_TEXT,
        description="description in one line",
        examples=["Bulk download over a 20 ms, 100 Mbit/s path"],
    )
    tags: tuple[Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_one_word)], ...] = Field(
        default=(), max_length=MAX_TAGS, description="words by which scenarios are selected", examples=[["wan", "bulk"]]
    )
    reference: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="ticket or page that the scenario comes from",
        examples=["TICKET-1234"],
    )
    hosts: dict[HostName, HostSpec] = Field(
        min_length=2,
        max_length=MAX_HOSTS,
        description="the hosts by name, each a network namespace, or a real machine; {} for a host without settings",
        examples=[{"client": {}, "server": {"sysctl": {"net.ipv4.tcp_congestion_control": "cubic"}}}],
        json_schema_extra={"additionalProperties": False},
    )
    links: tuple[LinkSpec, ...] = Field(
        min_length=1,
        max_length=MAX_LINKS,
        description="the links between the hosts, and what they do to packets",
        examples=[[{"between": ["client", "server"], "delay": "10ms", "rate": "100mbit", "queue": "1bdp"}]],
    )
    traffic: tuple[TrafficSpec, ...] = Field(
        min_length=1,
        max_length=MAX_TRAFFIC,
        description="what is sent; all entries run at the same time",
        examples=[[{"iperf3": {"from": "client", "to": "server", "duration": "3s"}}]],
    )
    measure: Measure = Field(
        default=Measure(), description="what is measured", examples=[{"layers": ["tcp"], "mode": "summary"}]
    )
    repeat: Whole = Field(
        default=Scenario.model_fields["repeat"].default, ge=1, le=1000, description="how many trials", examples=[3]
    )
    warmup_ns: TimeNs = Field(
        default=0,
        alias="warmup",
        description="time at the beginning of the traffic that is not measured",
        examples=["1s"],
    )
    phases_ns: dict[EntryName, ScheduleNs] = Field(
        default_factory=dict,
        alias="phases",
        max_length=MAX_PHASES,
        description="start of each phase, counted from the start of each trial as in a link's schedule; it lasts until "
        "the next one starts, the last one until the traffic ends (app.throughput_bps/restored: a metric of a phase)",
        # JSON Schemas sort keys, and phases are in the order of time.
        examples=[{"before": "1s", "outage": "3s", "restored": "5s"}],
        json_schema_extra={"additionalProperties": False},
    )
    matrix: dict[Annotated[str, Field(max_length=MAX_KEY)], MatrixValues] = Field(
        default_factory=dict,
        max_length=MAX_POINTS,
        description="settings to vary: each combination of values is a separate scenario (at most 64)",
        examples=[{"server.sysctl.net.ipv4.tcp_congestion_control": ["cubic", "bbr"], "links[0].delay": ["5ms"]}],
        json_schema_extra={"propertyNames": {"pattern": MATRIX_KEY}},
    )
    expect: ExpectBlock = Field(
        default=Expected(),
        description="thresholds by metric, and the expected diagnosis; each line is a separate test",
        examples=[{"tcp.rtt_us.p99": "<= 60ms", "diagnosis": "none"}],
    )
    tolerance_pct: ToleranceBlock = Field(
        alias="tolerance",
        description="margin by metric: a smaller change from the baseline is not a regression",
        examples=[{"tcp.rtt_us.p50": "5%"}],
    )


@cache
def _schema() -> dict[str, Any]:
    schema = ScenarioDocument.model_json_schema(by_alias=True, mode="validation")
    schema["properties"]["expect"].pop("default", None)
    # Its own row has it, in the file's notation.
    schema["properties"]["measure"]["default"].pop("interval", None)
    for model in (schema, *schema["$defs"].values()):
        model["title"] = _TITLES.get(model["title"], model["title"])
        for part in model.get("properties", {}).values():
            _write_as_in_files(part)
    schema["$defs"]["TrafficSpec"] |= {"oneOf": [{"required": [generator]} for generator in GENERATORS]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_TITLES: Final = {
    "ScenarioDocument": "perfcheck scenario",
    "HostSpec": "host",
    "LinkSpec": "link",
    "Impairments": "direction of a link",
    "Jitter": "jitter",
    "Queue": "queue",
    "Policer": "policer",
    "Change": "change over time",
    "Loss": "loss model",
    "TrafficSpec": "traffic",
    "Iperf3Spec": "iperf3",
    "HttpSpec": "http",
    "SockperfSpec": "sockperf",
    "ConnectionsSpec": "connections",
    "LoadSpec": "load",
    "CommandSpec": "command",
    "ServerSpec": "server of a command",
    "ReportSpec": "report of a command",
    "OwnMetric": "metric of a command",
    "Measure": "measure",
    "PacketFilter": "filter of packets",
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the scenario file: keys, units, examples and texts for editors."""
    return dict(_schema())


def known_keys(loc: Loc) -> tuple[str, ...]:
    """Return the keys that a mapping at this path may have; none where any are allowed, or where it is no mapping."""
    return tuple(dict.fromkeys(key for part in subschemas(loc) for key in part.get("properties", {})))


def subschemas(loc: Loc) -> list[dict[str, Any]]:
    """Return what the schema says of the value at this path, one part for each form it may have."""
    parts = list(_forms(_schema()))
    for step in loc:
        parts = [form for part in parts for form in _below(part, step)]
    return parts


def _below(part: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        fixed = part.get("prefixItems", [])
        below = fixed[step] if step < len(fixed) else part.get("items")
    else:
        patterns = part.get("patternProperties", {}).items()
        others = next(
            (found for pattern, found in patterns if re.search(pattern, step)), part.get("additionalProperties")
        )
        below = part.get("properties", {}).get(step, others)
    if isinstance(below, dict):
        yield from _forms(below)


def _forms(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Follow references and alternatives; what stands beside them (descriptions) goes with each form."""
    beside = {key: value for key, value in part.items() if key not in ("$ref", "anyOf")}
    if "$ref" in part:
        name = str(part["$ref"]).removeprefix("#/$defs/")
        for form in _forms(_schema()["$defs"][name]):
            yield {**form, **beside}
    elif "anyOf" in part:
        for alternative in part["anyOf"]:
            for form in _forms(alternative):
                yield {**form, **beside}
    else:
        yield part


def _write_as_in_files(part: dict[str, Any]) -> None:
    """Turn a number as a default into the file's notation, and drop limits that JSON Schema does not know."""
    for form in (part, *part.get("anyOf", ())):
        pattern = form.get("pattern", "")
        default = form.get("default")
        if isinstance(default, int | float) and "ns|us|ms" in pattern:
            form["default"] = duration_text(int(default))
        elif isinstance(default, int) and "b|kb|mb" in pattern and "bdp" not in pattern:
            form["default"] = size_text(default)
        elif isinstance(default, int | float) and "(%)" in pattern:
            form["default"] = percent_text(float(default))
        form.pop("gt", None)
