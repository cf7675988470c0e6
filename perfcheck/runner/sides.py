"""The two sides of `perfcheck ab`: the one setting in which B differs from A."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final, Literal, Self

from perfcheck.errors import LabError, UsageError
from perfcheck.model.scenario import HostSpec, Scenario, TrafficSpec
from perfcheck.model.setting import Setting
from perfcheck.scenario import refusal, unknown_congestion
from perfcheck.system import commands

Kind = Literal["file", "sysctl", "congestion", "nic", "command", "setting", "kernel", "cmdline"]

FORMS: Final = {
    "file": "file (as the file says)",
    "sysctl": "sysctl [HOST:]KEY=VALUE",
    "congestion": "congestion [HOST:]NAME",
    "nic": "nic [HOST:]FEATURE=on|off (as ethtool -K names it)",
    "kernel": "kernel=NAME [WORDS of its command line] (a kernel of `perfcheck kernel list`, booted in a guest)",
    "cmdline": "cmdline WORDS (of the kernel that a guest boots)",
    "ethtool": "ethtool [HOST:]-K IFACE FEATURE on|off (also -G, -C, -L)",
    "tc": "tc [HOST:]qdisc replace dev IFACE root KIND ...",
    "modparam": "modparam [HOST:]MODULE.PARAM=VALUE (real machines)",
    "reload": "reload [HOST:]MODULE [PARAM=VALUE] (real machines)",
    "command": "command ARGV (run on this machine before each of its runs)",
}
SETTINGS: Final = ("ethtool", "tc", "modparam", "reload")
"""First words of what is a setting of a machine (model/setting.py)."""
COMMAND_TIMEOUT_S: Final = 60.0
MAX_CHARACTERS: Final = 4096
MAX_COMMAND_LINE: Final = 1500
"""Characters of words for a kernel's command line. x86 kernels cut off what is beyond 2047; a guest's own words take
up to 400."""


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
                    _refuse(text, refusal(key, machine=True))
                if key and value and (kind == "sysctl" or value in ("on", "off")):
                    return cls(kind="sysctl" if kind == "sysctl" else "nic", text=text, host=host, key=key, value=value)
            case _ if kind in SETTINGS and rest:
                host, setting = _host_before(rest)
                try:
                    value = Setting.parse(f"{kind} {setting}").text
                except ValueError as wrong:
                    raise UsageError(f"side {text!r}: {wrong}") from None
                return cls(kind="setting", text=text, host=host, value=value)
        raise UsageError(f"a side is one of: {'; '.join(FORMS.values())}; got {text!r}")

    def applied_to(self, scenario: Scenario) -> Scenario:
        """Return the scenario with this side's setting; UsageError for a host that it does not have."""
        if self.host is not None and self.host not in scenario.hosts:
            known = ", ".join(scenario.hosts)
            raise UsageError(f"{self.text!r}: {scenario.name} has no host {self.host!r}; it has {known}")
        chosen = self._chosen(scenario)
        hosts = {
            name: self._in_host(name, spec, scenario) if name in chosen else spec
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

    def _chosen(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the hosts that are set: the named one, or all, of an interface's settings those that have it."""
        if self.host is not None:
            return (self.host,)
        every = tuple(scenario.hosts)
        if self.kind != "setting" or not scenario.is_real:
            return every
        setting = Setting.parse(self.value)
        if setting.kind in {"modparam", "module"}:
            return every
        having = tuple(name for name in every if scenario.hosts[name].interface == setting.target)
        if not having:
            known = ", ".join(f"{name}: {scenario.hosts[name].interface}" for name in every)
            raise UsageError(f"side {self.text!r}: no host has the interface {setting.target} on its link ({known})")
        return having

    def _in_host(self, name: str, spec: HostSpec, scenario: Scenario) -> HostSpec:
        if self.kind == "setting":
            return self._with_setting(name, spec)
        if self.kind == "sysctl":
            if not spec.is_real:
                _refuse(self.text, refusal(self.key))
            return spec.model_copy(update={"sysctl": {**spec.sysctl, self.key: self.value}})
        if self.kind == "congestion":
            return spec.model_copy(update={"congestion": self.value})
        if self.kind == "nic" and spec.is_real:
            if spec.interface is None:
                raise UsageError(f"side {self.text!r}: the file does not name the interface of {name}: use ethtool -K")
            order = f"ethtool -K {spec.interface} {self.key} {self.value}"
            return spec.model_copy(update={"settings": (*spec.settings, order)})
        if self.kind == "nic":
            links = sum(name in link.between for link in scenario.links)
            orders = tuple(f"ethtool -K eth{number} {self.key} {self.value}" for number in range(links))
            return spec.model_copy(update={"setup": (*spec.setup, *orders)})
        return spec

    def _with_setting(self, name: str, spec: HostSpec) -> HostSpec:
        if spec.is_real:
            return spec.model_copy(update={"settings": (*spec.settings, self.value)})
        if Setting.parse(self.value).kind in {"modparam", "module"}:
            raise UsageError(f"side {self.text!r}: {name} is a host of this machine's lab, which shares its modules")
        return spec.model_copy(update={"setup": (*spec.setup, self.value)})

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
    if len(words) > MAX_COMMAND_LINE:
        raise UsageError(
            f"side '{text[:60]}...': a kernel's command line has room for {MAX_COMMAND_LINE} characters here, "
            f"got {len(words)}"
        )
    return tuple(words.split())


def _refuse(text: str, why: str | None) -> None:
    """Say before anything is measured what can only be a mistake."""
    if why is not None:
        raise UsageError(f"side {text!r}: {why}")


def _host_before(text: str) -> tuple[str | None, str]:
    """Split `dut:-K eth1 gro off`; words of settings have no colon before their first blank."""
    first, blank, rest = text.partition(" ")
    name, colon, word = first.partition(":")
    return (name, f"{word}{blank}{rest}".strip()) if colon else (None, text)


def _host(text: str) -> tuple[str | None, str]:
    """Split `server:net.ipv4.x=1`; sysctl keys and values never have a colon before their `=`."""
    name, colon, rest = text.partition(":")
    return (name.strip(), rest.strip()) if colon and "=" not in name else (None, text)
