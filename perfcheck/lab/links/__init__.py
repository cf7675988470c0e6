"""Links and their emulators; one table lists them."""

from __future__ import annotations

from collections.abc import Mapping

from perfcheck.lab.links.netem import NetemEmulator
from perfcheck.lab.links.relay.emulator import RelayEmulator
from perfcheck.lab.links.veth import VethEmulator
from perfcheck.model.seams import LinkEmulator


def emulators() -> Mapping[str, LinkEmulator]:
    """Return every emulator that perfcheck brings, by name."""
    brought: tuple[LinkEmulator, ...] = (NetemEmulator(), RelayEmulator(), VethEmulator())
    return {emulator.name: emulator for emulator in brought}
