"""The two sides of `perfcheck ab`: the one setting in which B differs from A."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final, Literal, Self

from perfcheck.errors import LabError, UsageError
from perfcheck.model.scenario import HostSpec, Scenario, TrafficSpec
from perfcheck.scenario import refusal, unknown_congestion
from perfcheck.system import commands

Kind = Literal["file", "sysctl", "congestion", "nic", "command", "kernel", "cmdline"]

FORMS: Final = {
    "file": "file (as the file says)",
    "sysctl": "sysctl [HOST:]KEY=VALUE",
    "congestion": "congestion [HOST:]NAME",
    "nic": "nic [HOST:]FEATURE=on|off (as ethtool -K names it)",
    "kernel": "kernel=NAME [WORDS of its command line] (a kernel of `perfcheck kernel list`, booted in a guest)",
    "cmdline": "cmdline WORDS (of the kernel that a guest boots)",
    "command": "command ARGV (run on this machine before each of its runs)",
}
COMMAND_TIMEOUT_S: Final = 60.0
MAX_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: what is set, in which host (None: in all), and the text that the user gave.

    `command_line` are the words that join the command line of a guest's kernel.
    """

    kind: Kind
    text: str
    host: str | None = None
    key: str = ""
    value: str = ""
    command_line: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `sysctl net.ipv4.tcp_rmem=4096 65536 65536`; UsageError says what is wrong with it."""
        if len(text) > MAX_CHARACTERS:
            raise UsageError(f"a side has at most {MAX_CHARACTERS} characters, got {len(text)}")
        kind, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        name, equals, kernel = text.strip().partition("=")
        if name.strip() == "kernel" and equals and kernel.strip():
            value, _, words = kernel.strip().partition(" ")
            return cls(kind="kernel", text=text, value=value, command_line=_command_line(text, words))
        match kind:
            case "cmdline" if rest:
                return cls(kind="cmdline", text=text, command_line=_command_line(text, rest))
            case "file" if not rest:
                return cls(kind="file", text=text)
            case "command" if rest:
                return cls(kind="command", text=text, value=rest)
            case "congestion" if rest and "=" not in rest:
                host, name = _host(rest)
                _refuse(text, unknown_congestion(name))
                return cls(kind="congestion", text=text, host=host, value=name)
            case "sysctl" | "nic" if "=" in rest:
                host, setting = _host(rest)
                key, _, value = (part.strip() for part in setting.partition("="))
                if kind == "sysctl" and key and value:
                    _refuse(text, refusal(key))
                if key and value and (kind == "sysctl" or value in ("on", "off")):
                    return cls(kind="sysctl" if kind == "sysctl" else "nic", text=text, host=host, key=key, value=value)
        raise UsageError(f"a side is one of: {'; '.join(FORMS.values())}; got {text!r}")

    def applied_to(self, scenario: Scenario) -> Scenario:
        """Return the scenario with this side's setting; UsageError for a host that it does not have."""
        if self.host is not None and self.host not in scenario.hosts:
            known = ", ".join(scenario.hosts)
            raise UsageError(f"{self.text!r}: {scenario.name} has no host {self.host!r}; it has {known}")
        hosts = {
            name: self._in_host(name, spec, scenario) if self.host in (None, name) else spec
            for name, spec in scenario.hosts.items()
        }
        traffic = tuple(self._in_traffic(entry) for entry in scenario.traffic)
        return scenario.model_copy(update={"hosts": hosts, "traffic": traffic})

    def switch(self) -> None:
        """Run the side's command, where it is one; LabError with the command's own message."""
        if self.kind == "command":
            argv = shlex.split(self.value)
            done = commands.run(argv, timeout_s=COMMAND_TIMEOUT_S, error=LabError)
            if done.returncode != 0:
                raise LabError(f"side {self.text!r}: {commands.failure(done)}")

    def _in_host(self, name: str, spec: HostSpec, scenario: Scenario) -> HostSpec:
        if self.kind == "sysctl":
            return spec.model_copy(update={"sysctl": {**spec.sysctl, self.key: self.value}})
        if self.kind == "congestion":
            return spec.model_copy(update={"congestion": self.value})
        if self.kind == "nic":
            links = sum(name in link.between for link in scenario.links)
            orders = tuple(f"ethtool -K eth{number} {self.key} {self.value}" for number in range(links))
            return spec.model_copy(update={"setup": (*spec.setup, *orders)})
        return spec

    def _in_traffic(self, entry: TrafficSpec) -> TrafficSpec:
        """An iperf3 that names a congestion control would hide the host's."""
        spec = entry.iperf3
        if self.kind != "congestion" or spec is None or spec.congestion is None:
            return entry
        sender = spec.to_host if spec.reverse else spec.from_host
        if self.host not in (None, sender):
            return entry
        return entry.model_copy(update={"iperf3": spec.model_copy(update={"congestion": self.value})})


def _command_line(text: str, words: str) -> tuple[str, ...]:
    if not words.isprintable() or not words.isascii():
        raise UsageError(f"side {text!r}: a kernel's command line is printable ASCII")
    return tuple(words.split())


def _refuse(text: str, why: str | None) -> None:
    """Say before anything is measured what can only be a mistake."""
    if why is not None:
        raise UsageError(f"side {text!r}: {why}")


def _host(text: str) -> tuple[str | None, str]:
    """Split `server:net.ipv4.x=1`; sysctl keys and values never have a colon before their `=`."""
    name, colon, rest = text.partition(":")
    return (name.strip(), rest.strip()) if colon and "=" not in name else (None, text)
