"""The `expect` and `tolerance` blocks: their lines are read against the metric catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)  # fmt: skip
from pydantic_core import InitErrorDetails, PydanticCustomError

from perfcheck.model.catalogue import CATALOGUE, Catalogue
from perfcheck.model.causes import CAUSES
from perfcheck.model.metric import MetricSpec
from perfcheck.model.own_metric import NAME_PATTERN
from perfcheck.model.scenario import Expectation
from perfcheck.model.subject import DIAGNOSIS, is_diagnosis
from perfcheck.model.units import (
    DURATION_NS,
    MAX_QUANTITY_CHARACTERS,
    RATE_BPS,
    SIZE_BYTES,
    parse_in_unit,
    shown,
    split_quantity,
)
from perfcheck.scenario.suggest import hint

KNOWN: Final = "known"
"""Key of the validation's context: the metrics that this file can have."""
SEE_METRICS: Final = "; `perfcheck metrics` lists them"
MAX_TOLERANCE_PCT: Final = 1000.0

MAX_LINE_CHARACTERS: Final = 100
MAX_MISTAKES: Final = 50
"""Wrong lines that are told."""

_LINE: Final = re.compile(r"(?P<operator><=|>=|==|!=|<|>)(?P<threshold>.+)", re.DOTALL)
_NUMBER: Final = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_BARE_LINE: Final = rf"^\s*(<=|>=|<|>|==|!=)\s*{_NUMBER}\s*$"
_PART: Final = "[^@/]+"
_OWN: Final = rf"^{NAME_PATTERN}$"
_OF_SUBJECT: Final = rf"^[a-z]+\.[a-z0-9_.]+(@{_PART}(/{_PART})?|/{_PART})$"
_EXAMPLES: Final = {"us": "60ms", "bps": "85mbit", "pct": "0.5%", "bytes": "64kb"}

Operator = Literal["<=", ">=", "<", ">", "==", "!="]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """All of `expect`: the lines about metrics, and the cause that `diagnosis` names (`healthy` for `none`).

    `causes` are those that `diagnosis@<entry>` names, by the entry.
    """

    lines: tuple[Expectation, ...] = ()
    cause: str | None = None
    causes: Mapping[str, str] = field(default_factory=dict)


def read_line(metric: str, text: object, known: Catalogue = CATALOGUE) -> Expectation:
    """Read one line such as `("tcp.rtt_us.p99", "<= 60ms")`; ValueError says what was expected."""
    spec = known[metric]
    match = _LINE.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= MAX_LINE_CHARACTERS else None
    if match is None or not isinstance(text, str):
        raise ValueError(f"expected a comparison such as '{example_line(spec)}', got {shown(text)}")
    try:
        threshold = parse_in_unit(match["threshold"].strip(), spec.unit)
    except ValueError as error:
        wanted = str(error).partition(", got ")[0]
        raise ValueError(f"{wanted}, such as '{example_line(spec)}', got {shown(text)}") from None
    operator = cast("Operator", match["operator"])
    return Expectation(metric=metric, operator=operator, threshold=threshold, text=text.strip())


def read_cause(text: object) -> str:
    """Read the value of `diagnosis`: `none` or a cause's name; ValueError names the nearest cause."""
    if text == "none":
        return "healthy"
    if not isinstance(text, str) or text not in CAUSES:
        raise ValueError(f"expected none or a cause's name, got {shown(text)}{hint(str(text), ('none', *CAUSES))}")
    return text


def known_metric(name: str, info: ValidationInfo) -> str:
    """Let a metric of the catalogue pass, whatever it is asked of; ValueError names the nearest one."""
    known = _known(info)
    if name not in known:
        raise ValueError(f"unknown metric{_nearest(name, known) or SEE_METRICS}")
    return name


def _known(info: ValidationInfo) -> Catalogue:
    """Return the metrics that the file can have: the loader gives them, as its commands may report their own."""
    known: Catalogue = (info.context or {}).get(KNOWN, CATALOGUE)
    return known


def _nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint at the metric that was meant, under the same subject and phase."""
    metric, mark, rest = str(name).partition("@") if "@" in str(name) else str(name).partition("/")
    return hint(metric, known) if not mark else hint(metric, known).replace("'?", f"{mark}{rest}'?")


def example_line(spec: MetricSpec) -> str:
    """Return a line for this metric that could stand in a file."""
    return f"{'>=' if spec.direction.value == 'higher' else '<='} {_EXAMPLES.get(spec.unit, '1')}"


def _read_all(value: object, info: ValidationInfo) -> Expected:
    """Read every line, so that all mistakes are told at once, each with its key."""
    if isinstance(value, Expected):
        return value
    if not isinstance(value, dict):
        wanted = "a mapping such as {tcp.rtt_us.p99: '<= 60ms', diagnosis: none}"
        raise ValueError(f"expected {wanted}, got {shown(value)}")  # noqa: TRY004 - the type that the library takes
    metrics = _known(info)
    lines: list[Expectation] = []
    causes: dict[str, str] = {}
    mistakes: list[InitErrorDetails] = []
    for name, text in value.items():
        if len(mistakes) >= MAX_MISTAKES:
            break
        try:
            if isinstance(name, str) and is_diagnosis(name.partition("/")[0]):
                causes[name.partition("@")[2]] = read_cause(text)
            elif name in metrics:
                lines.append(read_line(name, text, metrics))
            else:
                near = _nearest(name, (DIAGNOSIS, *metrics)) or SEE_METRICS
                mistakes.append(_mistake((name, "[key]"), text, f"unknown metric{near}"))
        except ValueError as error:
            mistakes.append(_mistake((name,), text, str(error)))
    if mistakes:
        raise ValidationError.from_exception_data("expect", mistakes)
    return Expected(lines=tuple(lines), cause=causes.pop("", None), causes=causes)


def _mistake(loc: tuple[str, ...], value: object, message: str) -> InitErrorDetails:
    error = PydanticCustomError("value_error", "{error}", {"error": message})
    return InitErrorDetails(type=error, loc=loc, input=value)


def _read_tolerance(value: object) -> float:
    parts = split_quantity(value)
    if isinstance(value, bool) or parts is None or parts[1] != "%" or parts[0] > MAX_TOLERANCE_PCT:
        raise ValueError(f"expected a percentage such as 5%, at most {MAX_TOLERANCE_PCT:g}%, got {shown(value)}")
    return parts[0]


def _line_schema(spec: MetricSpec) -> dict[str, Any]:
    own = {"bps": "bit", "bytes": "b", "pct": "%"}.get(spec.unit, spec.unit)
    tables: tuple[Mapping[str, int], ...] = (DURATION_NS, RATE_BPS, SIZE_BYTES, {"%": 1})
    units = next(("|".join(table) for table in tables if own in table), "")
    return {
        "type": "string",
        "description": f"{spec.meaning} ({spec.unit}; {spec.direction.value} is better)",
        "maxLength": MAX_LINE_CHARACTERS,
        "pattern": rf"^\s*(<=|>=|<|>|==|!=)\s*{_NUMBER}(\s*({units}))?\s*$" if units else _BARE_LINE,
        "examples": [example_line(spec)],
    }


def _expect_schema() -> dict[str, Any]:
    properties: dict[str, Any] = {name: _line_schema(spec) for name, spec in CATALOGUE.items()}
    properties[DIAGNOSIS] = {
        "enum": ["none", *CAUSES],
        "description": "the cause that the diagnosis must find; none: the diagnosis must find no problem",
        "examples": ["none"],
    }
    causes = {key: value for key, value in properties[DIAGNOSIS].items() if key != "examples"}
    return {
        "type": "object", "additionalProperties": False, "properties": properties,
        "patternProperties": {
            rf"^{DIAGNOSIS}@{_PART}$": causes,
            _OWN: {
                "type": "string", "maxLength": MAX_LINE_CHARACTERS,
                "description": "a metric that a command of this file reports of itself",
            },
            _OF_SUBJECT: {
                "type": "string", "maxLength": MAX_LINE_CHARACTERS,
                "description": "a metric of a subject: a traffic entry, a host or a link's direction (a>b)",
            },
        },
    }  # fmt: skip


def _tolerance_schema() -> dict[str, Any]:
    properties = {
        name: {
            "type": "string",
            "maxLength": MAX_QUANTITY_CHARACTERS,
            "pattern": rf"^\s*{_NUMBER}\s*%\s*$",
            "description": f"{spec.meaning} (default: {spec.margin_pct:g}%)",
            "examples": [f"{spec.margin_pct:g}%"],
        }
        for name, spec in CATALOGUE.items()
    }
    of_subject = {"type": "string", "maxLength": MAX_QUANTITY_CHARACTERS, "pattern": rf"^\s*{_NUMBER}\s*%\s*$"}
    return {
        "type": "object", "additionalProperties": False, "properties": properties,
        "patternProperties": {_OWN: of_subject, _OF_SUBJECT: of_subject},
    }  # fmt: skip


ExpectBlock = Annotated[
    InstanceOf[Expected], BeforeValidator(_read_all), WithJsonSchema(_expect_schema(), mode="validation")
]
"""`expect` as in the file; validated to `Expected`."""

ToleranceBlock = Annotated[
    dict[Annotated[str, AfterValidator(known_metric)], Annotated[float, BeforeValidator(_read_tolerance)]],
    Field(default_factory=dict),
    WithJsonSchema(_tolerance_schema()),
]
"""`tolerance` as in the file; validated to percentages by metric."""
