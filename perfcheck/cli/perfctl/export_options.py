"""Options of what goes to Prometheus and InfluxDB, the same of each command that has figures of each interval."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.options import flag, option, option_name
from perfcheck.cli.perfctl.parser import Each, given
from perfcheck.cli.perfctl.values import value
from perfcheck.errors import UsageError
from perfcheck.model.units import shown

if TYPE_CHECKING:
    from pathlib import Path

    from perfcheck.cli.perfctl.command import Command
    from perfcheck.live.delivery.target import WebhookTarget

DEFAULT_LISTEN: Final = ("127.0.0.1", 9435)
TOKEN_VARIABLE: Final = "PERFCTL_INFLUX_TOKEN"  # noqa: S105 - a name
"""The token is in no argument: every user of the machine sees those."""
LABELS: Final = ("process", "app", "cgroup", "connection")
MOST_SERIES: Final = 100_000
_LISTENING: Final = ("listen", "listen_anywhere", "native_histograms")
_PUSHING: Final = ("influx_token_file", "influx_plain_http")
_LABELLING: Final = ("labels", "max_series")


def add_export_options(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the options, where the command has figures to export."""
    if command.watching is None or not command.watching.exports:
        return
    group = parser.add_argument_group(
        "export", "--output prometheus serves /metrics until the end; --output influx writes line protocol."
    )
    option(group, "--listen", "address and port of the endpoint (default: 127.0.0.1:9435)", type=value(_address),
           metavar="ADDRESS:PORT")  # fmt: skip
    flag(group, "--listen-anywhere", "allow an address of --listen that other machines reach; there is neither "
         "encryption nor a password")  # fmt: skip
    flag(group, "--native-histograms", "offer native histograms, too: Prometheus takes them with its feature flag")
    option(group, "--prometheus-textfile", "replace this file each interval, for node_exporter: DIR/perfctl.prom",
           type=value(_textfile), metavar="FILE")  # fmt: skip
    group.add_argument(
        "--labels", action=Each, default=(), type=value(_labels), metavar="LIST",
        help=f"figures of connections by {', '.join(LABELS)}, separated by commas; can be repeated (default: none)",
    )  # fmt: skip
    option(group, "--max-series", "most label sets of --labels; the rest is summed up as `other` (default: 1000)",
           type=values.count(1, MOST_SERIES, "a number of label sets"), metavar="N")  # fmt: skip
    option(group, "--influx-url", "push to this server: https://host:8086/api/v2/write?org=O&bucket=B",
           type=value(_url), metavar="URL")  # fmt: skip
    option(group, "--influx-token-file", f"read the token from this file (default: the environment's {TOKEN_VARIABLE})",
           type=value(values.path), metavar="FILE")  # fmt: skip
    flag(group, "--influx-plain-http", "allow http:// to another machine: figures and token are not encrypted")


def check_export(args: argparse.Namespace, command: Command) -> None:
    """Raise UsageError for options that contradict each other."""
    form = args.output or "console"
    watching = command.watching
    if watching is None or not watching.exports:
        if form in {"prometheus", "influx"}:
            raise UsageError(f"--output: `perfctl {command.name}` has no figures of each interval for {form}; use "
                             f"console or json, or `perfctl observe --output {form}`")  # fmt: skip
        return
    there = given(args)
    _need(there & set(_LISTENING), form == "prometheus", "--output prometheus")
    _need(there & {"influx_url"}, form == "influx", "--output influx")
    _need(there & set(_PUSHING), "influx_url" in there, "--influx-url")
    exports = form in {"prometheus", "influx"} or args.prometheus_textfile is not None
    _need(there & set(_LABELLING), exports, "--output prometheus, --output influx or --prometheus-textfile")
    _need(there & {"max_series"}, "labels" in there, "--labels")
    if form == "prometheus" and args.output_file is not None:
        raise UsageError("--output-file: Prometheus scrapes an endpoint; leave it out, or use --prometheus-textfile")
    if args.influx_url is not None and args.output_file is not None:
        raise UsageError("--output-file: lines go to --influx-url; leave one of them out")
    _check_views(args, form, watching.views)
    _check_reach(args)
    if args.recording is not None and "cgroup" in labels_of(args):
        raise UsageError("--labels: a recording keeps no paths of cgroups; leave cgroup out")


def _need(found: frozenset[str], is_there: bool, other: str) -> None:
    for dest in sorted(found):
        if not is_there:
            raise UsageError(f"{option_name(dest)}: has no effect without {other}; add it")


def _check_views(args: argparse.Namespace, form: str, views: tuple[str, ...]) -> None:
    if form not in {"prometheus", "influx"}:
        return
    for dest in views:
        if dest in given(args):
            raise UsageError(f"{option_name(dest)}: has no effect with --output {form}; leave it out")


def _check_reach(args: argparse.Namespace) -> None:
    from perfcheck.export.influx_push import is_loopback

    host, _ = listen_of(args)
    if not is_loopback(host) and not args.listen_anywhere:
        raise UsageError(
            f"--listen: {host} is reached from other machines, without encryption or a password; "
            "add --listen-anywhere, or put a proxy with both before 127.0.0.1 (docs/prometheus.md)"
        )
    server = args.influx_url
    if server is not None and not server.tls and not is_loopback(server.host) and not args.influx_plain_http:
        raise UsageError(
            "--influx-url: http:// sends figures and token to another machine unencrypted; write https://, "
            "or add --influx-plain-http"
        )


def listen_of(args: argparse.Namespace) -> tuple[str, int]:
    """Return the address and port of the endpoint."""
    found: tuple[str, int] = args.listen or DEFAULT_LISTEN
    return found


def labels_of(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the kinds of labels that were asked for."""
    return tuple(dict.fromkeys(name for each in args.labels for name in each))


def token_of(args: argparse.Namespace) -> str | None:
    """Return InfluxDB's token, of the file or of the environment; None where there is none."""
    file: Path | None = args.influx_token_file
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        with file.open(encoding="ascii") as stream:
            token = stream.read(4096).strip()
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not ASCII text"
        raise UsageError(f"--influx-token-file: {shown(str(file))} cannot be read: {why}") from None
    if not token or not token.isprintable() or " " in token:
        raise UsageError(f"--influx-token-file: {shown(str(file))} does not hold one token; write it there alone")
    return token


def _address(text: str) -> tuple[str, int]:
    import ipaddress

    host, colon, port = text.rpartition(":")
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not (port.isascii() and port.isdecimal()) or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"expected ADDRESS:PORT such as 127.0.0.1:9435 or [::1]:9435, got {shown(text)}")
    if plain == "localhost":
        return "127.0.0.1", int(port)
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        raise ValueError(f"expected an IP address before the port, such as 127.0.0.1, got {shown(host)}") from None
    if address.version == 6 and plain == host:
        raise ValueError(f"write IPv6 addresses in brackets, such as [::1]:9435, got {shown(text)}")
    return str(address), int(port)


def _textfile(text: str) -> Path:
    from perfcheck.export.textfile import textfile_path

    return textfile_path(text)


def _url(text: str) -> WebhookTarget:
    from perfcheck.export.influx_push import influx_server

    return influx_server(text)


def _labels(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(each.strip() for each in text.split(",")))
    for each in found:
        if each not in LABELS:
            raise ValueError(f"unknown label {shown(each)}{values.hint(each, LABELS)}")
    return found
