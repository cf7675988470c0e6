"""The form of `interventions.yaml`, and its reader; mistakes are told with their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from perfcheck.errors import FileError, Problem, RuleError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.system.located_yaml import MAX_PROBLEMS, LocatedFile, read_located
from perfcheck.system.place import START, problem_at, show_path
from perfcheck.system.yaml_bounds import YamlBounds

FILE: Final = "interventions.yaml"
NOTHING_TO_TEST: Final = ("healthy", "unknown")
"""Causes that name no limit."""
_BOUNDS: Final = YamlBounds(characters=100_000, values=5_000, depth=12, scalar=2_000)
_KINDS: Final = ("sysctl", "link", "traffic", "remove", "rules", "qdisc", "routes", "priority", "look",
          "program", "listeners")  # fmt: skip

Percent = Annotated[float, Field(gt=0, le=1000)]
Text = Annotated[str, Field(min_length=1, max_length=300)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def _known_metric(value: str) -> str:
    if value not in CATALOGUE:
        raise ValueError(f"unknown metric {value!r}")
    return value


class Step(_Form):
    """One change; exactly one of the keys in `_KINDS` says of what."""

    sysctl: Annotated[str, Field(pattern=r"^net\.")] | None = None
    link: Literal["loss", "corrupt", "policer", "ecn", "jitter", "reorder", "queue", "slowdown", "delay"] | None = None
    traffic: Literal["rate", "backlog", "accept"] | None = None
    remove: Literal["traffic", "programs", "forwarding"] | None = None
    rules: Literal["random", "limit", "syn", "connections", "reset", "spread", "large"] | None = None
    qdisc: Literal["rate", "limit"] | None = None
    routes: Literal["initcwnd", "window"] | None = None
    priority: Annotated[int, Field(ge=-20, le=19)] | None = None
    look: Literal["hosts", "programs"] | None = None
    program: Literal["bulk"] | None = None
    listeners: Literal["backlog"] | None = None
    on: Literal["senders", "receivers", "hosts"] = "hosts"
    value: str | None = None
    at: Literal["path", "bottleneck"] = "path"
    to: Literal["none"] | int | None = None
    times: Annotated[float, Field(gt=0, le=100)] | None = None
    most_bdp: Annotated[float, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of {', '.join(_KINDS)}")
        if self.sysctl is not None and self.value is None:
            raise ValueError("a sysctl needs a value")
        if self.link is not None and (self.to is None) == (self.times is None):
            raise ValueError("a link needs either `to: none` or `times`")
        return self


class Sign(_Form):
    """A metric that is above a value in some run where the limit is at work."""

    metric: str
    above: float = 0.0

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        return _known_metric(value)


class Move(_Form):
    """A metric that must rise or fall by at least so many per cent; it cannot tell where it was not above a value."""

    metric: str
    above: float | None = None
    rises_pct: Percent | None = None
    falls_pct: Annotated[float, Field(gt=0, le=100)] | None = None

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        return _known_metric(value)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.rises_pct is None) == (self.falls_pct is None):
            raise ValueError("expected either rises_pct or falls_pct")
        return self

    @property
    def wanted_pct(self) -> float:
        """The least change, in per cent of the unchanged runs: negative for a fall."""
        if self.rises_pct is not None:
            return self.rises_pct
        assert self.falls_pct is not None  # noqa: S101 - the validator saw to it
        return -self.falls_pct


class Took(Move):
    """What shows that a relief took effect; at or below `above` in the unchanged runs there is nothing to show."""

    above: float | None = 0.0


class Intervention(_Form):
    """How one cause is tested, or why it cannot be (`cannot`)."""

    cause: str
    relief: Text = "-"
    steps: tuple[Step, ...] = ()
    moves: tuple[Move, ...] = ()
    decides: Literal["any", "first"] = "any"
    signs: tuple[Sign, ...] = ()
    unless: tuple[Sign, ...] = ()
    elsewhere: tuple[Sign, ...] = ()
    took: Took | None = None
    keep_buffers: Literal["senders", "receivers"] | None = None
    nothing: Literal["refuted", "untestable"] = "untestable"
    reason: Text = "the scenario has nothing of the kind"
    cannot: Text | None = None

    @field_validator("cause")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in CAUSES or value in NOTHING_TO_TEST:
            raise ValueError(f"{value!r} is not a cause that a change could test")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.cannot is None and not (self.steps and self.moves):
            raise ValueError("expected steps and moves, or cannot with the reason")
        return self


class _File(_Form):
    schema_version: Literal[1] = Field(alias="schema")
    interventions: tuple[Intervention, ...]


def shipped_interventions() -> Mapping[str, Intervention]:
    """Return the interventions that come with perfcheck, by cause."""
    text = resources.files("perfcheck.confirm").joinpath(FILE).read_text(encoding="utf-8")
    return read_interventions(f"perfcheck/confirm/{FILE}", text)


def read_interventions(file: str, text: str) -> Mapping[str, Intervention]:
    """Return the interventions of a file's text by cause; RuleError lists every mistake with its place."""
    try:
        source = read_located(file, text, _BOUNDS)
        form = _File.model_validate(source.value)
    except FileError as error:
        raise RuleError(*error.problems) from None
    except ValidationError as error:
        raise RuleError(
            *(_problem(source, each["loc"], each["msg"]) for each in error.errors()[:MAX_PROBLEMS])
        ) from None
    found: dict[str, Intervention] = {}
    twice = []
    for index, each in enumerate(form.interventions):
        if each.cause in found:
            twice.append(source.problem(("interventions", index, "cause"), f"duplicate cause {each.cause!r}"))
        found[each.cause] = each
    if twice:
        raise RuleError(*twice)
    return found


def _problem(source: LocatedFile, path: Sequence[str | int], message: str) -> Problem:
    where = source.place(path) if path else START
    return problem_at(source.file, where, show_path(path), message.removeprefix("Value error, "))
