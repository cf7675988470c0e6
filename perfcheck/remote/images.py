"""Compiled BPF programs for other machines: taken from the cache here, or compiled here for their kernel, and sent.

An image's name holds digests of the kernel's types and of all that it was made from, so that machines with one kernel
share it, and one that was sent once is in the cache for the next time. That machine needs no compiler.
"""

from __future__ import annotations

from perfcheck.agent import requests as ask
from perfcheck.ebpf import cache
from perfcheck.errors import CollectError, Unavailable
from perfcheck.remote.channel import Channel


def send_images(channel: Channel, request: ask.WantedImages) -> None:
    """Send what the collectors there want; what cannot be compiled here is left to a compiler there."""
    wanted: ask.Images = channel.ask(request)
    if channel.greeting.kernel_types is None:
        return
    found: dict[str, str] = {}
    types: bytes | None = None
    for name, files in wanted.files.items():
        text = cache.kept(name)
        if text is None:
            types = channel.ask_for_payload(ask.KernelTypes()) if types is None else types
            text = _compiled(types, name, files)
        if text is not None:
            found[name] = text
    complete = found.keys() == wanted.files.keys()
    channel.ask(ask.Images(texts=found), b"all" if complete else b"")


def _compiled(types: bytes, name: str, files: tuple[str, ...]) -> str | None:
    try:
        text = cache.compiled_for(types, files)
    except (CollectError, Unavailable):
        return None
    cache.keep(name, text)
    return text
