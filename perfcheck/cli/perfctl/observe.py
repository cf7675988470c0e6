"""`perfctl observe`: what goes wrong, each interval, with the diagnosis and alerts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from perfcheck.cli.perfctl import values
from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import option
from perfcheck.cli.perfctl.parser import Each
from perfcheck.cli.perfctl.screen_options import add_screen_options, check_tui
from perfcheck.cli.perfctl.values import value
from perfcheck.errors import UsageError

if TYPE_CHECKING:
    from perfcheck.live.delivery import Target


def _target(text: str) -> Target:
    """Return where alerts go; what delivers them is loaded only where it is asked for."""
    from perfcheck.live.delivery import target_of

    return target_of(text)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "alerts", "The built-in rules always apply: tail p99 above 10 x p50, retransmissions above 1 %, connect p99 "
        "above 100ms, bursts of drops, time in Loss above 10 %.",
    )  # fmt: skip
    option(group, "--alert-rtt-p99", "alert where the P99 of RTT rises above this time, e.g. 50ms",
           dest="alert_rtt_p99_ns", type=values.duration_ns(1, 1 << 61, "50ms"), metavar="TIME")  # fmt: skip
    option(group, "--alert-retrans-rate", "alert where more than this share of data segments is retransmitted",
           dest="alert_retrans_rate_pct", type=values.percent(), metavar="PCT")  # fmt: skip
    option(group, "--alert-drop-rate", "alert where more than this share of packets is dropped on this machine",
           dest="alert_drop_rate_pct", type=values.percent(), metavar="PCT")  # fmt: skip
    group.add_argument(
        "--alert-output", action=Each, default=(), type=value(_target), metavar="TARGET",
        help="where alerts go beside the output: file:PATH, syslog, or webhook:URL; can be repeated",
    )  # fmt: skip
    add_screen_options(parser.add_argument_group("screen"), tui=True)


def _check(args: argparse.Namespace) -> None:
    check_tui(args, ("prometheus_textfile",))
    targets = args.alert_output
    if len(set(targets)) < len(targets):
        raise UsageError("--alert-output: two values name the same target; give it once")


COMMAND: Final = Command(
    name="observe",
    summary="RTT, connect time, retransmissions and drops, with diagnosis and alerts",
    description="Watches RTT, connect time, retransmissions and drops at each interval, and says why: for each "
    "retransmission whether a packet of its flow was dropped and where, whether its send queue was full, and whether "
    "its process waited for a CPU.",
    examples=(
        Example(line="perfctl observe --remote-ip 10.0.0.0/8 --alert-rtt-p99 50ms",
                what="flows to 10.0.0.0/8; an alert when the P99 of RTT rises above 50 ms"),
        Example(line="perfctl observe --alert-retrans-rate 1% --alert-output syslog --output json",
                what="all flows as JSON lines; alerts also go to syslog"),
    ),
    add_arguments=_add_arguments, check=_check,
    watching=Watching(layers=("tcp", "ip"), events=lambda _args: True, exports=True),
)  # fmt: skip
