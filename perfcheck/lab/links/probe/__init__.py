"""The proof before a run: packets of its own through a link, both ways, compared with what the file asks for."""

from perfcheck.lab.links.probe.prove import prove
from perfcheck.lab.links.probe.sockets import Side

__all__ = ["Side", "prove"]
