"""`perfctl hist`: distributions of RTT, inflight, congestion window and rate."""

from __future__ import annotations

import argparse
from typing import Final

from perfcheck.cli.perfctl.command import Command, Example, Watching
from perfcheck.cli.perfctl.options import option


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("histograms")
    option(group, "--perspective", "rx (when ACKs arrive), tx (when segments are sent), or both side by side with "
           "what the difference means (default: both)", known=("rx", "tx", "both"), default="both",
           metavar="SIDE")  # fmt: skip


COMMAND: Final = Command(
    name="hist",
    summary="distributions of RTT, inflight, congestion window and rate",
    description="Shows the distributions of RTT, inflight, congestion window and rate, and how long connections were "
    "in each congestion state. The verdict compares inflight with the BDP, which is delivery rate x min RTT.",
    examples=(
        Example(line="perfctl hist --perspective both --rport 443 --duration 30s",
                what="the ACK side and the send side of connections to port 443"),
        Example(line="perfctl hist --from incident.rec --remote-ip 10.0.0.2",
                what="the same of a recording, connections to one address"),
    ),
    add_arguments=_add_arguments, watching=Watching(
        send_side=lambda args: args.perspective != "rx", exports=True,
    ),
)  # fmt: skip
