"""All machines of one scenario: connected, locked, and set up for the side that is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from perfcheck.agent import requests as ask
from perfcheck.errors import LabError
from perfcheck.model.scenario import HostSpec, Scenario
from perfcheck.remote.channel import Channel
from perfcheck.remote.hosts import RealHost
from perfcheck.remote.together import together
from perfcheck.remote.transport import Transport
from perfcheck.system import deferred_signals

CONGESTION_KEY: Final = "net.ipv4.tcp_congestion_control"
SET_UP_S: Final = 180.0
"""Setting a machine up may load a driver and negotiate its link anew."""


class Machines:
    """Connected in the `with` block; at its end each agent undoes what it has made, whatever happened.

    The measuring locks of all machines are held, taken in one order everywhere, so that two runs never wait for each
    other.
    """

    def __init__(self, scenario: Scenario, told: Callable[[str], None]) -> None:
        """Connect nothing yet; `told` is given what is waited for."""
        self._specs = scenario.hosts
        self._told = told
        self._channels: dict[str, Channel] = {}
        self._connecting: list[Transport] = []
        self.hosts: dict[str, RealHost] = {}
        self._cleanup = ExitStack()
        self._active: Mapping[str, HostSpec] | None = None

    def __enter__(self) -> Self:
        """Connect to all machines, and wait until nobody else measures on any of them."""
        try:
            together(self._specs_by_name, self._connect)
            self._lock()
            self.hosts = together(self._specs_by_name, self._host)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Have everything undone; LabError where something is left and no other error is on its way."""
        failed = self._close()
        if failed and error is None:
            raise LabError("; ".join(failed))

    def activate(self, specs: Mapping[str, HostSpec]) -> None:
        """Set all machines up as these say, where they are not: what another side of a comparison set is put back."""
        if specs is self._active:
            return
        self._active = None
        together(
            self.hosts, lambda host: host.channel.ask(_wanted(specs[host.name], host.interface), timeout_s=SET_UP_S)
        )
        self._active = specs

    @property
    def _specs_by_name(self) -> Mapping[str, str]:
        return {name: name for name in self._specs}

    def _connect(self, name: str) -> None:
        self._channels[name] = Channel(name, self._specs[name], self._told, self._connecting.append)

    def _host(self, name: str) -> RealHost:
        return RealHost(name, self._specs[name], self._channels[name])

    def _lock(self) -> None:
        """Take each machine's lock once, however many hosts are on it."""
        first: dict[str, Channel] = {}
        for channel in self._channels.values():
            first.setdefault(channel.greeting.lock, channel)
        for lock in sorted(first):
            first[lock].ask(ask.Lock(), timeout_s=None)

    def _close(self) -> list[str]:
        """End all connections; gives what agents could not undo. Signals are held back meanwhile."""
        with deferred_signals():
            channels, self._channels = self._channels, {}
            connected = {channel.transport for channel in channels.values()}
            for transport in self._connecting:
                if transport not in connected:
                    transport.kill()
            found = together(channels, lambda channel: channel.leave())
            return [f"{channels[name].where}: {text}" for name, failed in found.items() for text in failed]


def _wanted(spec: HostSpec, interface: str) -> ask.Apply:
    congestion = {} if spec.congestion is None else {CONGESTION_KEY: spec.congestion}
    return ask.Apply(
        interface=interface,
        sysctls={**{key: str(value) for key, value in spec.sysctl.items()}, **congestion},
        settings=spec.settings,
        setup=spec.setup,
        teardown=spec.teardown,
    )
