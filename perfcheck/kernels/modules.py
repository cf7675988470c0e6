"""Which modules a guest needs, in the order to load them, and their content without compression."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import UnreadableFile, UsageError
from perfcheck.kernels.compression import decompress
from perfcheck.kernels.parts import MAX_MODULE_BYTES
from perfcheck.kernels.store import Kernel
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.files import replace_file

_PLAIN: Final = ".ko"
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of a kernel: its name as /proc/modules has it, and its file.

    `required` is False for what only a soft dependency names: where it cannot be loaded (crc32c_intel on a CPU without
    the instruction), others of its kind do.
    """

    name: str
    path: Path
    required: bool = True


class ModuleSet:
    """The modules of a kernel by name, and what is built in.

    Example:
        >>> modules = ModuleSet.of(kernel)                                          # doctest: +SKIP
        >>> [module.name for module in modules.closure(["sch_netem", "tun"])]       # doctest: +SKIP
        ['sch_netem', 'tun']
    """

    def __init__(self, kernel: str, folder: Path, cache: Path) -> None:
        """Take the kernel's name and the folders of its modules and of its cache; see `of`."""
        self._kernel = kernel
        self._folder = folder
        self._cache = cache
        self._entries = dict(_dependencies(_text(folder / "modules.dep")))
        self._built_in = frozenset(_names(_text(folder / "modules.builtin").split()))

    @classmethod
    def of(cls, kernel: Kernel) -> Self:
        """Return the modules of a kernel of the store."""
        return cls(kernel.name, kernel.modules, kernel.cache / "modules")

    @property
    def names(self) -> Sequence[str]:
        """The names of all modules."""
        return sorted(self._entries)

    def folder_of(self, name: str) -> str:
        """Return the folder of a module's file below the kernel's modules; KeyError where there is no such module."""
        return self._entries[name].file.rpartition("/")[0]

    def has(self, name: str) -> bool:
        """Return whether the kernel has this, as a module or built in; an alias such as `net-pf-16` counts."""
        return bool(self._known_as(_plain_name(name))) or self.is_built_in(name)

    def is_built_in(self, name: str) -> bool:
        """Return whether the kernel has this without loading anything."""
        name = _plain_name(name)
        return name in self._built_in or any(_matches(name, pattern) for pattern in self._built_in_aliases)

    def closure(self, names: Iterable[str]) -> tuple[Module, ...]:
        """Return these modules and all that they need, each once, in the order to load them.

        What is built in needs no loading. Soft dependencies that modprobe loads before a module are in it, too.
        UsageError for a name that the kernel does not know.
        """
        chosen: dict[str, Module] = {}
        for name in names:
            found = self._known_as(_plain_name(name))
            if not found and not self.is_built_in(name):
                raise UsageError(f"the kernel {self._kernel} has no module {name!r}")
            for each in found:
                self._add(each, chosen, required=len(found) == 1 and not self.is_built_in(name))
        return tuple(chosen.values())

    def _add(
        self, name: str, chosen: dict[str, Module], *, required: bool, above: frozenset[str] = frozenset()
    ) -> None:
        """Add a module behind what it needs; `above` are those that need it, so that a circle ends."""
        if name in above:
            return
        present = chosen.get(name)
        if present is not None and (present.required or not required):
            return
        entry, above = self._entries[name], above | {name}
        for soft in self._soft.get(name, ()):
            for each in self._known_as(soft):
                self._add(each, chosen, required=False, above=above)
        for needed in entry.needs:
            if needed in self._entries:
                self._add(needed, chosen, required=required, above=above)
        chosen[name] = Module(name=name, path=self._folder / entry.file, required=required)

    def content(self, module: Module) -> bytes:
        """Return a module as the kernel loads it; what is compressed is kept decompressed in the kernel's cache."""
        if module.path.suffix == _PLAIN:
            return self._read(module.path)
        kept = self._cache / f"{module.name}{_PLAIN}"
        try:
            return kept.read_bytes()
        except OSError:
            pass
        try:
            content = decompress(self._read(module.path), MAX_MODULE_BYTES)
        except ValueError as error:
            raise UsageError(f"{module.path}: {error}{self._again()}") from None
        # A store that cannot be written, and a full disk, cost time only.
        with contextlib.suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            replace_file(kept, content, durable=False)
        return content

    def _read(self, path: Path) -> bytes:
        """Read a module; UsageError where the store has lost it."""
        try:
            return read_bounded(path, MAX_MODULE_BYTES)
        except UnreadableFile as error:
            raise UsageError(f"{error}{self._again()}") from None

    def _again(self) -> str:
        name = self._kernel
        return f". The kernel is damaged: remove it with `perfcheck kernel remove {name}`, and add it again"

    def _known_as(self, name: str) -> tuple[str, ...]:
        """Return the module of this name, or all that have it as an alias; as modprobe, also where one is built in."""
        return (name,) if name in self._entries else self._of_alias(name)

    def _of_alias(self, name: str) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(
                module for pattern, module in self._aliases if module in self._entries and _matches(name, pattern)
            )
        )

    @functools.cached_property
    def _aliases(self) -> tuple[tuple[str, str], ...]:
        """Patterns of aliases, each with its module, as modules.alias has them."""
        lines = (line.split() for line in _text(self._folder / "modules.alias").splitlines())
        return tuple((_plain_name(words[1]), _plain_name(words[2])) for words in lines
                     if len(words) == 3 and words[0] == "alias")  # fmt: skip

    @functools.cached_property
    def _built_in_aliases(self) -> tuple[str, ...]:
        """Patterns of aliases of what is built in."""
        entries = _text(self._folder / "modules.builtin.modinfo").split("\0")
        pairs = (entry.partition("=") for entry in entries)
        return tuple(_plain_name(value) for key, _, value in pairs if key.endswith(".alias"))

    @functools.cached_property
    def _soft(self) -> Mapping[str, Sequence[str]]:
        """What should be loaded before a module where the kernel has it, by module."""
        return dict(_soft_dependencies(_text(self._folder / "modules.softdep")))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A line of modules.dep: the file, and the names of the modules that it needs, in the order to load them."""

    file: str
    needs: tuple[str, ...]


def _dependencies(text: str) -> Iterator[tuple[str, _Entry]]:
    for line in text.splitlines():
        file, _, needs = line.partition(":")
        # depmod writes what is to be loaded first as the last one.
        yield _name(file), _Entry(file=file, needs=tuple(reversed(_names(needs.split()))))


def _soft_dependencies(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Read lines such as `softdep libcrc32c pre: crc32c post: x`."""
    for line in text.splitlines():
        match line.split():
            case ["softdep", module, *words]:
                before, taken = [], False
                for word in words:
                    if word in {"pre:", "post:"}:
                        taken = word == "pre:"
                    elif taken:
                        before.append(_plain_name(word))
                yield _plain_name(module), tuple(before)


def _names(files: Iterable[str]) -> tuple[str, ...]:
    return tuple(_name(file) for file in files)


def _name(file: str) -> str:
    return _plain_name(file.rpartition("/")[2].partition(_PLAIN)[0])


def _plain_name(name: str) -> str:
    """Return a name as the kernel has it: modules and aliases are the same with - and with _."""
    return name.replace("-", "_") if "[" not in name else name


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or (not _WILD.isdisjoint(pattern) and fnmatch.fnmatchcase(name, pattern))


def _text(path: Path) -> str:
    """Return the text of a list; an empty one where a kernel has none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
