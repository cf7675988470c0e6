"""The header of a recording: who wrote it, and what was asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from perfcheck.model.interval import LiveRequest
from perfcheck.version import VERSION

SCHEMA: Final = 1
"""Raised when a reader of the number before could not read a recording; columns and metrics are added without that."""
_MAX_INTEGER: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingHeader:
    """What the first frame of each segment holds; no name of the machine or of its user."""

    schema: int
    version: str
    kernel: str
    request: LiveRequest


_HEADER: Final = TypeAdapter(RecordingHeader)
_ANY: Final = TypeAdapter(dict[str, object])


def header_of(request: LiveRequest) -> RecordingHeader:
    """Return the header of a recording that is made here and now."""
    return RecordingHeader(schema=SCHEMA, version=VERSION, kernel=os.uname().release, request=request)


def encode_header(header: RecordingHeader) -> bytes:
    """Return the header as JSON, which tells it from an interval by its key."""
    return b'{"header":' + _HEADER.dump_json(header) + b"}"


def is_header(text: bytes) -> bool:
    """Return whether a frame's JSON is a header's."""
    return text.startswith(b'{"header":')


def decode_header(text: bytes) -> RecordingHeader:
    """Return the header; ValueError says what is wrong with it."""
    body = text.removeprefix(b'{"header":').removesuffix(b"}")
    if (schema := _schema(body)) > SCHEMA:
        raise ValueError(f"a recording of schema {schema}, this perfcheck reads up to {SCHEMA}; use a newer perfcheck")
    try:
        header = _HEADER.validate_json(body)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
    request = header.request
    if not 0 < request.interval_ns < _MAX_INTEGER or abs(request.duration_ns or 0) > _MAX_INTEGER:
        raise ValueError("the header's interval or duration is out of range")
    return header


def _schema(body: bytes) -> int:
    """Return the schema's number alone: all else of a newer schema may be different."""
    try:
        found = _ANY.validate_json(body).get("schema")
    except ValidationError:
        found = None
    if not isinstance(found, int) or found < 1:
        raise ValueError("the header has no schema number")
    return min(found, _MAX_INTEGER)


def first_fault(error: ValidationError) -> str:
    """Return the first of a validation's faults, without the value, which may be of any size."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))[:80]}: {fault['msg'][:120]}"
