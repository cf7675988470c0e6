"""Small C programs of perfcheck's own for other machines: sent as compiled here, or compiled there.

They are static, so that another libc does not matter. What was compiled here is sent to a machine of the same
architecture, and tried there before it is used. Where it cannot be had or does not run, it is compiled there.
"""

from __future__ import annotations

import platform
from pathlib import Path

from perfcheck.agent import requests as ask
from perfcheck.agent.own_programs import digest_of
from perfcheck.errors import Unavailable
from perfcheck.remote.channel import Channel
from perfcheck.system import programs


def place_program(channel: Channel, architecture: str, source: Path) -> str:
    """Return the path of a program on another machine; Unavailable says why it can be had neither way."""
    name = source.stem
    try:
        return _sent(channel, architecture, source, name)
    except Unavailable as lacking:
        not_sent = lacking.why
    try:
        built: ask.Program = channel.ask(ask.PlaceProgram(name=name, digest=None))
    except Unavailable as lacking:
        raise Unavailable(
            f"{channel.where}: the program {name}", f"as compiled here: {not_sent}; compiled there: {lacking.why}",
            "apt-get install gcc libc6-dev, on that machine or on one of its architecture that perfcheck runs on",
        ) from None  # fmt: skip
    return built.path


def _sent(channel: Channel, architecture: str, source: Path, name: str) -> str:
    here = platform.machine()
    if architecture != here:
        raise Unavailable(f"the program {name}", f"it is for {here}, and the machine is {architecture}", "")
    content = programs.built(source)
    request = ask.PlaceProgram(name=name, digest=digest_of(content))
    taken: ask.Program = channel.ask(request, content)
    return taken.path
