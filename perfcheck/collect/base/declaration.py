"""What a collector says of itself before it is made: one `Declaration` each, all of them in `collect/declared.py`.

Imports next to nothing, so that compiling can begin before anything else is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Group = tuple[str, ...]
"""Files of bpf/ that are compiled as one text."""
Layers = Literal["all"] | Collection[str]
Mode = Literal["summary", "detail", "both"]
EVERY_MODE: Final[frozenset[Mode]] = frozenset({"summary", "detail", "both"})
SUMMARY: Final[frozenset[Mode]] = frozenset({"summary", "both"})
"""The modes that summarise in the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One collector.

    `name` is that of MetricSpec.needs. `layers` are those that it has figures of; a collector of no layer comes with
    whatever is chosen. `group` has its BPF programs, which are attached to `hooks` (ProgramImage.name).
    `optional` are hooks that a kernel may lack; where `functions` is set, hooks are functions that a kernel
    may be unable to trace. `instead` names hooks that take the place of tracepoints.
    `may_stop`: it may be stopped where measuring takes too much of a CPU. `on_request`: it comes only if asked for.
    """

    name: str
    layers: frozenset[str] = frozenset()
    modes: frozenset[Mode] = EVERY_MODE
    group: Group = ()
    hooks: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    functions: bool = False
    may_stop: bool = False
    on_request: bool = False

    def serves(self, layers: Layers, mode: Mode) -> bool:
        """Whether it measures any of these layers in this mode."""
        chosen = layers == "all" or not self.layers or not self.layers.isdisjoint(layers)
        return chosen and mode in self.modes

    @property
    def targets(self) -> tuple[str, ...]:
        """All hooks, with those that a kernel may lack or that stand in for others."""
        return (*self.hooks, *self.may_lack)

    @property
    def may_lack(self) -> tuple[str, ...]:
        """Hooks without which the collector measures the rest."""
        return (*self.optional, *self.instead, *self.instead.values())
