"""The one set of options of every command that watches, and the request that they make."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.output_choice import OutputChoice, OutputFormat
from perfcheck.cli.perfctl.parser import Each, Flag, Once, given
from perfcheck.cli.perfctl.values import value, word
from perfcheck.errors import UsageError
from perfcheck.model.flow import Protocol
from perfcheck.model.flow_filter import ANY_PORT, End, FlowFilter, Network

if TYPE_CHECKING:
    from perfcheck.cli.perfctl.command import Command, Watching
    from perfcheck.model.interval import LiveRequest

DEFAULT_INTERVAL_NS: Final = 1_000_000_000
DEFAULT_MAX_FLOWS: Final = 16384
DEFAULT_CPU_CEILING_PCT: Final = 1.0
SCREEN_CPU_CEILING_PCT: Final = 5.0
"""Of one CPU, drawing included: with 1,000 connections, that takes some 2 %."""
MODES: Final = ("summary", "detail", "both")
_EITHER_WAY: Final = ("src_ip", "dst_ip", "src_port", "dst_port")
FILTERS: Final = (
    "src_ip", "dst_ip", "src_port", "dst_port", "local_ip", "lport", "remote_ip", "rport", "flow", "protocol", "pid",
    "comm", "cgroup", "interface",
)  # fmt: skip
"""Options that choose flows, in the order in which they are told."""
_LIVE_ONLY: Final = {
    "interface": "a recording keeps no names of interfaces",
    "cgroup": "a recording keeps no paths of cgroups",
    "interval_ns": "the recording has its own interval",
    "max_flows": "nothing is measured",
    "cpu_ceiling_pct": "nothing is measured",
}
"""Options that a recording cannot answer, and why."""


def option(group: Any, name: str, help_text: str, *, known: Sequence[str] = (), **more: Any) -> None:
    """Add an option that takes one value, once; `known` are the words that it takes, where these are few."""
    if known:
        # argparse's own message about choices is never seen: the type refuses first. Completion reads them.
        more |= {"type": word(known), "choices": tuple(known)}
    group.add_argument(name, action=Once, help=help_text, **more)


def flag(group: Any, name: str, help_text: str) -> None:
    """Add an option that takes no value."""
    group.add_argument(name, action=Flag, help=help_text)


def add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the options that every watching command has."""
    _add_ends(parser.add_argument_group("filters: ends of flows", "All given filters must hold."))
    _add_owners(parser.add_argument_group("filters: whose flows"))
    _add_measuring(parser.add_argument_group("what to measure"), command)
    _add_output(parser.add_argument_group("output"), command)


def _add_ends(group: Any) -> None:
    address, port = value(values.network), value(values.ports)
    for name, which in (("src", "one end"), ("dst", "the other end")):
        option(group, f"--{name}-ip", f"address or network of {which}, in either direction: 10.0.0.1, 10.0.0.0/8",
               type=address, metavar="IP")  # fmt: skip
        option(group, f"--{name}-port", f"port or range of {which}, in either direction: 443, 8000-8100",
               type=port, metavar="PORT")  # fmt: skip
    for name, dest, which in (("local", "lport", "this machine's end"), ("remote", "rport", "the far end")):
        option(group, f"--{name}-ip", f"address or network of {which}", type=address, metavar="IP")
        option(group, f"--{dest}", f"port or range of {which}", type=port, metavar="PORT")
    option(group, "--flow", "one flow, in either direction: '10.0.0.1:40000->10.0.0.2:443', '[::1]:40000->[::1]:80'",
           type=value(values.flow), metavar="A:p->B:q")  # fmt: skip
    option(group, "--protocol", "tcp or udp (default: both)", known=[each.value for each in Protocol],
           metavar="NAME")  # fmt: skip


def _add_owners(group: Any) -> None:
    option(group, "--pid", "flows of this process", type=values.count(1, values.MOST_PIDS, "a process ID"),
           metavar="PID")  # fmt: skip
    option(group, "--comm", "flows of processes of this name", type=value(values.comm), metavar="NAME")
    option(group, "--cgroup", "flows of this cgroup and those below it: a path below /sys/fs/cgroup",
           type=value(str), metavar="PATH")  # fmt: skip
    option(group, "--interface", "flows through this interface", type=value(values.interface), metavar="NAME")
    group.add_argument(
        "--netns", action=Each, default=(), type=value(str), metavar="NETNS",
        help="watch this network namespace instead of the machine's own: a name of `ip netns`, a path, or the PID of a "
        "process in it; can be repeated",
    )  # fmt: skip


def _add_measuring(group: Any, command: Command) -> None:
    watching = command.watching
    layers = watching.layers if watching else "all"
    mode = watching.mode if watching else "summary"
    option(group, "--layer", "layers, separated by commas: app, socket, tcp, ip, qdisc, nic, cpu; or all "
           f"(default: {layers if isinstance(layers, str) else ','.join(layers)})",
           type=value(values.layers), metavar="LIST")  # fmt: skip
    option(group, "--mode", "summary (figures), detail (the paths of packets) or both "
           f"(default: {mode})", known=MODES, metavar="MODE")  # fmt: skip
    option(group, "--interval", "length of one interval, at least 10ms (default: 1s)", dest="interval_ns",
           type=values.duration_ns(values.LEAST_INTERVAL_NS, values.MOST_INTERVAL_NS, "100ms or 1s"),
           metavar="TIME")  # fmt: skip
    usual = f"after {values.length(watching.duration_ns)}" if watching and watching.duration_ns else "at Ctrl-C"
    option(group, "--duration", f"end after this time, e.g. 30s, 5min (default: {usual})", dest="duration_ns",
           type=values.duration_ns(1, 1 << 61, "30s or 5min"), metavar="TIME")  # fmt: skip
    option(group, "--max-flows", f"most connections at a time; more are counted only (default: {DEFAULT_MAX_FLOWS})",
           type=values.count(1, values.MOST_FLOWS, "a number of connections"), metavar="N")  # fmt: skip
    option(group, "--cpu-ceiling", "share of one CPU that perfctl may use; it measures less to keep to it "
           f"(default: {_ceiling_pct(command.watching):g})", dest="cpu_ceiling_pct", type=values.percent(),
           metavar="PCT")  # fmt: skip


def _add_output(group: Any, command: Command) -> None:
    option(group, "--output", "console (for people), json (one object a line), prometheus (an endpoint) or influx "
           "(line protocol); the last two of observe, tcp and hist (default: console)",
           known=get_args(OutputFormat), metavar="FORMAT")  # fmt: skip
    option(group, "--output-file", "write to this file instead of standard output" if command.name != "record" else
           "the recording to write (default: perfctl-DATE-TIME.rec)",
           type=value(values.own_file if command.name == "record" else values.file_or_stdout),
           metavar="FILE")  # fmt: skip
    option(group, "--report", "when the watch is over, write what it saw as a page to this file: .html, .md or .pdf",
           type=value(values.path), metavar="PATH")  # fmt: skip
    option(group, "--from", "read this recording of `perfctl record` instead of the live machine", dest="recording",
           type=value(values.path), metavar="FILE")  # fmt: skip


def option_name(dest: str) -> str:
    """Return how an option is written whose value has this name."""
    if dest == "recording":
        return "--from"
    for unit in ("_ns", "_pct", "_us"):
        dest = dest.removesuffix(unit)
    return f"--{dest.replace('_', '-')}"


def check_options(args: argparse.Namespace, command: Command) -> None:
    """Raise UsageError for options that contradict each other."""
    there = given(args)
    if "flow" in there:
        for dest in _EITHER_WAY:
            if dest in there:
                raise UsageError(f"--flow: already names both ends; leave out {option_name(dest)}, or --flow")
    _check_versions(args)
    _check_times(args, command)
    if args.recording is not None:
        _check_recording(args, command)
    if args.report is not None and args.report in (args.output_file, args.recording):
        raise UsageError("--report: another option names this file, too; name a file of its own")


def _check_times(args: argparse.Namespace, command: Command) -> None:
    interval_ns = args.interval_ns or DEFAULT_INTERVAL_NS
    usual_ns = command.watching.duration_ns if command.watching and args.recording is None else None
    if args.duration_ns is not None and args.duration_ns < interval_ns:
        raise UsageError(
            f"--duration: {values.length(args.duration_ns)} is shorter than one interval "
            f"({values.length(interval_ns)}); raise it, or lower --interval"
        )
    if args.duration_ns is None and usual_ns is not None and usual_ns < interval_ns:
        raise UsageError(
            f"--interval: {values.length(interval_ns)} is longer than the {values.length(usual_ns)} that "
            f"`perfctl {command.name}` watches; add --duration, or lower it"
        )


def _check_versions(args: argparse.Namespace) -> None:
    near, far = args.flow or (End(), End())
    networks = {
        "--src-ip": args.src_ip, "--dst-ip": args.dst_ip, "--local-ip": args.local_ip, "--remote-ip": args.remote_ip,
        "--flow": near.network or far.network,
    }  # fmt: skip
    first: tuple[str, int] | None = None
    for name, network in networks.items():
        if network is None:
            continue
        if first is None:
            first = (name, network.version)
        elif network.version != first[1]:
            raise UsageError(
                f"{name}: is IPv{network.version}, but {first[0]} is IPv{first[1]}; no flow has both, give one version"
            )


def _check_recording(args: argparse.Namespace, command: Command) -> None:
    if command.watching is not None and not command.watching.reads_recordings:
        raise UsageError(f"--from: `perfctl {command.name}` works on the live machine only; leave it out")
    for dest, why in _LIVE_ONLY.items():
        if dest in given(args):
            raise UsageError(f"{option_name(dest)}: cannot be used with --from: {why}; leave it out")
    if args.output_file is not None and args.output_file == args.recording:
        raise UsageError("--output-file: is the recording of --from, which would be overwritten; name another file")


def filter_of(args: argparse.Namespace) -> FlowFilter:
    """Return the filters of the options; `cgroup` as it was written."""
    source, target = args.flow or (_end(args.src_ip, args.src_port), _end(args.dst_ip, args.dst_port))
    return FlowFilter(
        source=source, target=target,
        local=_end(args.local_ip, args.lport), remote=_end(args.remote_ip, args.rport),
        protocol=None if args.protocol is None else Protocol(args.protocol),
        interface=args.interface, pid=args.pid, comm=args.comm, cgroup=args.cgroup,
    )  # fmt: skip


def _end(network: Network | None, ports: tuple[int, int] | None) -> End:
    return End(network=network, ports=ports or ANY_PORT)


def request_of(args: argparse.Namespace, command: Command) -> LiveRequest:
    """Return what the options ask to be watched."""
    from perfcheck.model.interval import LiveRequest

    watching = command.watching
    assert watching is not None, f"{command.name} watches nothing"  # noqa: S101 - the registry's own mistake
    return LiveRequest(
        filter=filter_of(args), netns=tuple(args.netns), layers=args.layer or watching.layers,
        mode=args.mode or watching.mode, interval_ns=args.interval_ns or DEFAULT_INTERVAL_NS,
        duration_ns=args.duration_ns or (watching.duration_ns if args.recording is None else None),
        events=watching.events(args), send_side=watching.send_side(args),
        max_flows=args.max_flows or DEFAULT_MAX_FLOWS,
        cpu_ceiling_pct=_ceiling_of(args, watching),
    )  # fmt: skip


def _ceiling_pct(watching: Watching | None) -> float:
    own = None if watching is None else watching.cpu_ceiling_pct
    return DEFAULT_CPU_CEILING_PCT if own is None else own


def _ceiling_of(args: argparse.Namespace, watching: Watching) -> float:
    if args.cpu_ceiling_pct is not None:
        return float(args.cpu_ceiling_pct)
    # Drawing a screen takes more than writing lines, and counts, too.
    return max(_ceiling_pct(watching), SCREEN_CPU_CEILING_PCT if getattr(args, "tui", False) else 0.0)


def output_of(args: argparse.Namespace, command: Command) -> OutputChoice:
    """Return where results go."""
    return OutputChoice(
        prog=f"perfctl {command.name}", format=args.output or "console", file=args.output_file,
        recording=args.recording,
    )  # fmt: skip


def require(args: argparse.Namespace, dests: Sequence[str], other: str) -> None:
    """Raise UsageError where one of the options is given without the other that it needs."""
    for dest in dests:
        if dest in given(args) and other not in given(args):
            raise UsageError(f"{option_name(dest)}: has no effect without {option_name(other)}; add it")
