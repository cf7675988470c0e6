"""Field types for the names that a scenario file gives: of scenarios, of hosts, of address families."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, WithJsonSchema

from perfcheck.model.setting import INTERFACE

_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,62}"
_HOST: Final = r"[a-z][a-z0-9-]{0,14}"
_ENTRY: Final = r"[a-z][a-z0-9_-]{0,30}"
_DESTINATION: Final = r"(ssh://)?([A-Za-z0-9_][A-Za-z0-9_.-]{0,63}@)?[A-Za-z0-9_\[][A-Za-z0-9_.:%\]-]{0,253}"
"""What ssh(1) takes as a destination, and nothing that it, or a shell of a ProxyCommand, could take for more."""
_NETNS: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_PROGRAM: Final = r"[A-Za-z0-9_/][A-Za-z0-9_./-]{0,254}"


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


def _valid_destination(value: str) -> str:
    if not re.fullmatch(_DESTINATION, value):
        raise ValueError(
            f"expected a destination of ssh such as root@192.0.2.7, or a name of its config, got {value!r}"
        )
    return value


def _valid_interface(value: str) -> str:
    if not re.fullmatch(INTERFACE, value) or value in {".", "..", "lo"}:
        raise ValueError(f"expected the name of a network interface such as eth1, got {value!r}")
    return value


def _valid_netns(value: str) -> str:
    if not re.fullmatch(_NETNS, value):
        raise ValueError(f"expected the name of a network namespace, as `ip netns` lists it, got {value!r}")
    return value


def _valid_address(value: str) -> str:
    try:
        address = ip_address(value)
    except ValueError:
        raise ValueError(f"expected an IP address such as 192.0.2.7, got {value!r}") from None
    if address.is_multicast or address.is_unspecified or address.is_loopback or "%" in value:
        raise ValueError(f"expected an address that other machines reach, got {value!r}")
    return str(address)


def _valid_program(value: str) -> str:
    if not re.fullmatch(_PROGRAM, value):
        raise ValueError(f"expected a program such as python3.12 or /opt/venv/bin/python, got {value!r}")
    return value


Family = Literal["ipv4", "ipv6"]
Name = Annotated[str, AfterValidator(_valid_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"})]
HostName = Annotated[str, AfterValidator(_valid_host), WithJsonSchema({"type": "string", "pattern": f"^{_HOST}$"})]
EntryName = Annotated[str, AfterValidator(_valid_entry), WithJsonSchema({"type": "string", "pattern": f"^{_ENTRY}$"})]
"""A traffic entry's, and a phase's."""
Destination = Annotated[
    str, AfterValidator(_valid_destination), WithJsonSchema({"type": "string", "pattern": f"^{_DESTINATION}$"})
]
InterfaceName = Annotated[
    str, AfterValidator(_valid_interface), WithJsonSchema({"type": "string", "pattern": f"^{INTERFACE}$"})
]
NetnsName = Annotated[str, AfterValidator(_valid_netns), WithJsonSchema({"type": "string", "pattern": f"^{_NETNS}$"})]
Address = Annotated[str, AfterValidator(_valid_address), WithJsonSchema({"type": "string"})]
ProgramName = Annotated[
    str, AfterValidator(_valid_program), WithJsonSchema({"type": "string", "pattern": f"^{_PROGRAM}$"})
]
