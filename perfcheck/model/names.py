"""Field types for the names that a scenario file gives: of scenarios, of hosts, of address families."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, WithJsonSchema

_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,62}"
_HOST: Final = r"[a-z][a-z0-9-]{0,14}"
_ENTRY: Final = r"[a-z][a-z0-9_-]{0,30}"


def _valid_name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError(f"expected a name of lower-case letters, digits, '-', '_' and '.', got {value!r}")
    return value


def _valid_host(value: str) -> str:
    if not re.fullmatch(_HOST, value):
        raise ValueError(f"expected a host name of at most 15 lower-case letters, digits and '-', got {value!r}")
    return value


def _valid_entry(value: str) -> str:
    if not re.fullmatch(_ENTRY, value):
        raise ValueError(f"expected a name of at most 31 lower-case letters, digits, '-' and '_', got {value!r}")
    return value


Family = Literal["ipv4", "ipv6"]
Name = Annotated[str, AfterValidator(_valid_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"})]
HostName = Annotated[str, AfterValidator(_valid_host), WithJsonSchema({"type": "string", "pattern": f"^{_HOST}$"})]
EntryName = Annotated[str, AfterValidator(_valid_entry), WithJsonSchema({"type": "string", "pattern": f"^{_ENTRY}$"})]
"""A traffic entry's, and a phase's."""
