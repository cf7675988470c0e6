"""`perfcheck clean --ssh`: undoes on another machine what agents that were killed have left there."""

from __future__ import annotations

import argparse

from pydantic import ValidationError

from perfcheck.errors import UsageError
from perfcheck.model.scenario import HostSpec
from perfcheck.system.printing import complain, say


def clean_there(arguments: argparse.Namespace) -> int:
    """Have an agent start there, which begins with undoing what others have left; status 3 where something stays."""
    # Not above: the connection takes modules that `clean` here does not need.
    from perfcheck.remote.channel import Channel

    channel = Channel("there", _machine(arguments.ssh, arguments.python))
    greeting = channel.greeting
    channel.leave()
    for line in greeting.undone:
        say(line)
    for line in greeting.failed:
        complain(line)
    if not (greeting.undone or greeting.failed):
        say("nothing to undo")
    return 3 if greeting.failed else 0


def _machine(destination: str, python: str) -> HostSpec:
    """Return the host; UsageError for what a scenario file may not have either."""
    try:
        return HostSpec.model_validate({"ssh": destination, "python": python})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {str(first['msg']).removeprefix('Value error, ')}") from None
