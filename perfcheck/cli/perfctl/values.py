"""The values of perfctl's options: each function returns what a text says; ValueError says what was expected."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from perfcheck.model.flow_filter import End, Network
from perfcheck.model.printable import code_point, unprintable
from perfcheck.model.units import DURATION_NS, parse_duration_ns, parse_percent, shown

T = TypeVar("T")

MOST_CHARACTERS: Final = 4096
"""Of any value: the longest path that the kernel takes."""
COMM_BYTES: Final = 15
LAYERS: Final = ("app", "socket", "tcp", "ip", "qdisc", "nic", "cpu")
LEAST_INTERVAL_NS: Final = 10_000_000
MOST_INTERVAL_NS: Final = 3_600_000_000_000
MOST_FLOWS: Final = 1 << 20
MOST_PIDS: Final = 1 << 22
_ARROW: Final = "->"
_STDOUT: Final = Path("-")
_UNITS: Final = ", ".join(DURATION_NS)


def value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return the parser as argparse wants it; texts that cannot be shown are refused before it sees them."""

    def convert(text: str) -> T:
        try:
            _check_text(text)
            return parse(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return convert


def _check_text(text: str) -> None:
    if not text:
        raise ValueError("the value is empty; leave the option out, or write a value")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"the value has {len(text)} characters; at most {MOST_CHARACTERS} are allowed")
    found = unprintable(text)
    if found is not None:
        raise ValueError(f"the value holds the character {code_point(found)}, which cannot be printed; remove it")


def word(known: Sequence[str]) -> Callable[[str], str]:
    """Return a parser of one of the known words."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"unknown value {shown(text)}{hint(text, known)}")
        return text

    return value(parse)


def hint(text: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the nearest known one, or all of them."""
    from perfcheck.scenario.suggest import hint as nearest_hint

    return nearest_hint(text, known)


def network(text: str) -> Network:
    """Parse an address or a network; an IPv4 address mapped into IPv6 is IPv4, as the tables have it."""
    if "%" in text:
        raise ValueError(f"write the address without %interface and add --interface, got {shown(text)}")
    try:
        given = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(
            f"expected an IP address or network such as 10.0.0.1 or 10.0.0.0/8 (host names are not resolved), "
            f"got {shown(text)}"
        ) from None
    if given.network.network_address != given.ip:
        raise ValueError(f"{text} has bits set beyond its prefix; write {given.network} or {given.ip}")
    mapped = getattr(given.network.network_address, "ipv4_mapped", None)
    if mapped is not None and given.network.prefixlen >= 96:
        return ipaddress.IPv4Network((mapped, given.network.prefixlen - 96))
    return given.network


def ports(text: str) -> tuple[int, int]:
    """Parse a port, or a range of ports."""
    first, dash, last = text.partition("-")
    lowest = _port(first, text)
    highest = _port(last, text) if dash else lowest
    if highest < lowest:
        raise ValueError(f"the range {text} is reversed; write {highest}-{lowest}")
    return lowest, highest


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535):
        raise ValueError(f"expected a port from 1 to 65535, or a range such as 8000-8100, got {shown(whole)}")
    return int(text)


def flow(text: str) -> tuple[End, End]:
    """Parse `A:p->B:q` to both ends; IPv6 addresses are in brackets."""
    left, arrow, right = text.partition(_ARROW)
    if not arrow and text.endswith("-"):
        raise ValueError(f"put the flow in quotes: the shell took the '>' after {shown(text)} as a redirection")
    if not arrow or _ARROW in right:
        raise ValueError(f"expected a flow such as '10.0.0.1:40000->10.0.0.2:443' or '[::1]:40000->[::1]:80', "
                         f"got {shown(text)}")  # fmt: skip
    near, far = _end(left.strip()), _end(right.strip())
    if near.network is not None and far.network is not None and near.network.version != far.network.version:
        raise ValueError("one end is IPv4 and the other is IPv6; both ends of a flow have the same version")
    return near, far


def _end(text: str) -> End:
    address, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"expected ADDRESS:PORT such as 10.0.0.1:443 on each side of '->', got {shown(text)}")
    if ":" in address and not (address.startswith("[") and address.endswith("]")):
        raise ValueError(f"write IPv6 addresses in brackets, such as [::1]:80, got {shown(text)}")
    if "/" in address or "-" in port:
        raise ValueError(f"a flow has one address and one port on each side, got {shown(text)}; "
                         "use --src-ip and --src-port for networks and ranges")  # fmt: skip
    return End(network=network(address[1:-1] if address.startswith("[") else address), ports=ports(port))


def duration_ns(least_ns: int, most_ns: int, example: str) -> Callable[[str], int]:
    """Return a parser of a duration within bounds."""

    def parse(text: str) -> int:
        try:
            found = parse_duration_ns(text)
        except ValueError:
            raise ValueError(f"expected a duration such as {example} (units: {_UNITS}), got {shown(text)}") from None
        if not least_ns <= found <= most_ns:
            raise ValueError(f"expected from {length(least_ns)} to {length(most_ns)}, got {shown(text)}")
        return found

    return value(parse)


def length(ns: int) -> str:
    """Return a duration as a user would write it."""
    for unit, size in reversed(DURATION_NS.items()):
        if ns % size == 0:
            return f"{ns // size}{unit}"
    return f"{ns}ns"


def percent(least: float = 0.0, most: float = 100.0) -> Callable[[str], float]:
    """Return a parser of a percentage above `least` and up to `most`; the sign may be left out."""

    def parse(text: str) -> float:
        try:
            found = parse_percent(text if text.rstrip().endswith("%") else f"{text}%")
        except ValueError:
            raise ValueError(f"expected a percentage such as 1 or 0.5%, got {shown(text)}") from None
        if not least < found <= most:
            raise ValueError(f"expected a percentage above {least:g} and up to {most:g}, got {shown(text)}")
        return found

    return value(parse)


def count(least: int, most: int, what: str) -> Callable[[str], int]:
    """Return a parser of a whole number within bounds."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 12 and least <= int(text) <= most):
            raise ValueError(f"expected {what} from {least} to {most}, got {shown(text)}")
        return int(text)

    return value(parse)


def layers(text: str) -> tuple[str, ...] | str:
    """Parse a list of layers; "all" stands alone."""
    found = tuple(dict.fromkeys(each.strip() for each in text.split(",")))
    if found == ("all",):
        return "all"
    for each in found:
        if not each:
            raise ValueError(f"expected layers such as tcp,qdisc without empty places, got {shown(text)}")
        if each == "all":
            raise ValueError("'all' includes every other layer; write it alone")
        if each not in LAYERS:
            raise ValueError(f"unknown layer {shown(each)}{hint(each, (*LAYERS, 'all'))}")
    return found


def comm(text: str) -> str:
    """Parse the name of a process as the kernel has it."""
    raw = text.encode(errors="surrogateescape")
    if len(raw) > COMM_BYTES:
        cut = raw[:COMM_BYTES].decode(errors="ignore")
        raise ValueError(f"process names have at most {COMM_BYTES} bytes; write {cut!r} (see /proc/PID/comm)")
    return text


def interface(text: str) -> str:
    """Parse the name of an interface."""
    if len(text.encode(errors="surrogateescape")) > 15 or "/" in text or " " in text or text in {".", ".."}:
        raise ValueError(f"expected the name of an interface such as eth0, got {shown(text)}")
    return text


def path(text: str) -> Path:
    """Parse the name of a file or folder."""
    return Path(text)


def own_file(text: str) -> Path:
    """Parse the name of a file to write; `-` would make a file of that name."""
    if path(text) == _STDOUT:
        raise ValueError("'-' is no file here; name a file")
    return path(text)


def file_or_stdout(text: str) -> Path | None:
    """Parse the name of a file to write, or None for `-`, standard output."""
    return None if path(text) == _STDOUT else path(text)
