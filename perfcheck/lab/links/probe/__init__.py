"""The proof before a run: its own packets through both directions of a link, compared with what the file asks for."""

from perfcheck.lab.links.probe.prove import prove
from perfcheck.lab.links.probe.sockets import Side

__all__ = ["Side", "prove"]
