"""The page of the run record, made from the models that read and write it."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from made.markdown import anchor_of, code, docstring, heading, page, prose, table
from perfcheck.model.record import RunRecord

_INTRO: Final = """\
After this page you can read a run record with any tool. `--json PATH` appends one JSON object a line for each scenario.

    perfcheck run scenarios/wan-bulk-20ms.yaml --json runs.jsonl
    jq '.metrics["tcp.rtt_us.p99"].value, .diagnosis[0].cause' runs.jsonl

Each value is in the unit that its metric's name carries ([all metrics](metrics.md)). Fields with a default may be
missing in records of older versions. Events are in [another schema](../events.md), time series in
[Parquet](../series.md)."""
_WORDS: Final[Mapping[object, str]] = {
    str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value", NoneType: "null",
}  # fmt: skip


def record_page() -> str:
    """Return the page."""
    return page("The run record", _INTRO, *(block for model in models(RunRecord) for block in _section(model)))


def models(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the model and those that it is made of, each once."""
    found = [root]
    for model in found:
        yield model
        inner = (each for field in fields(model).values() for each in _inside(field.annotation))
        found += [each for each in dict.fromkeys(inner) if each not in found]


def fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """Return a model's fields by their names in JSON."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _section(model: type[BaseModel]) -> Iterator[str]:
    yield heading(2, code(model.__name__), anchor_of(model.__name__))
    yield from docstring(model)
    rows = ((code(name), _type(field.annotation), _default(field)) for name, field in fields(model).items())
    yield table(("key", "value", "default"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value in (None, "", (), {}) else code(json.dumps(value))


def _inside(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _inside(part)


def _type(annotation: object) -> str:
    """Return a type in words, as Markdown."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(code(str(part)) for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is tuple:
        inner = parts[:1] if parts[-1] is Ellipsis else parts
        return f"list of {', '.join(dict.fromkeys(map(_type, inner)))}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping from {_type(parts[0])} to {_type(parts[1])}"
    return _plain_type(annotation)


def _plain_type(annotation: object) -> str:
    """Return a type that is made of no others in words, as Markdown."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{code(annotation.__name__)}](#{anchor_of(annotation.__name__)})"
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return f"one of {', '.join(code(str(each.value)) for each in annotation.__members__.values())}"
    return prose(getattr(annotation, "__name__", str(annotation)))
