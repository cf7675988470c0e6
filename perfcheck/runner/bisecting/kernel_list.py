"""The kernels of a bisect by name: a list of the store's, oldest first, some with words of their command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import UnreadableFile, UsageError
from perfcheck.runner.bisecting.search import ListOrder
from perfcheck.runner.cost import GuestKernel
from perfcheck.runner.guests import GuestSide, stored_kernel
from perfcheck.runner.sides import Side
from perfcheck.scenario import hint
from perfcheck.system.bounded_read import read_bounded_text

MOST_KERNELS: Final = 1000
_MAX_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEntry:
    """One kernel of a list: its name in the store, with the words that join its command line."""

    text: str
    name: str
    words: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `6.12-cloud` or `6.12-cloud:init_on_free=1 quiet`."""
        text = " ".join(text.split())
        name, _, words = text.partition(":")
        if not name.strip():
            raise UsageError(f"expected a kernel such as 6.12-cloud, or 6.12-cloud:WORDS, got {text[:80]!r}")
        return cls(text=text, name=name.strip(), words=words.strip())

    def side(self) -> GuestSide:
        """Return it as a side of a comparison; UsageError where the store has no such kernel."""
        side = Side.parse(f"kernel={self.name} {self.words}".strip())
        return GuestSide(side=side, guest=GuestKernel(kernel=stored_kernel(self.name), command_line=side.command_line))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelList:
    """Kernels of the store, oldest first, from the good one to the bad one."""

    entries: tuple[KernelEntry, ...]

    @classmethod
    def parse(cls, text: str, good: str, bad: str) -> Self:
        """Read `A,B,C` or a file with a kernel in each line; UsageError where good and bad are not in it, in order."""
        entries = [KernelEntry.parse(part) for part in _parts(text)]
        if not entries:
            raise UsageError(f"--kernels: {text[:80]!r} names no kernel; expected A,B,C, from the oldest to the newest")
        if len(entries) > MOST_KERNELS:
            raise UsageError(f"--kernels: expected at most {MOST_KERNELS} kernels, got {len(entries):,}")
        twice = next((one.text for index, one in enumerate(entries) if one in entries[:index]), None)
        if twice is not None:
            raise UsageError(f"--kernels: {twice!r} is listed twice")
        first, last = (_place(entries, option, name) for option, name in (("--good", good), ("--bad", bad)))
        if first >= last:
            raise UsageError(
                f"--good {good} must come before --bad {bad} in --kernels: list kernels from the oldest to the newest"
            )
        return cls(entries=tuple(entries[first : last + 1]))

    def __enter__(self) -> Self:
        """Make nothing: the store has the kernels."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove nothing."""

    @property
    def good(self) -> str:
        """The kernel that all others are compared with."""
        return self.entries[0].text

    @property
    def bad(self) -> str:
        """The kernel that is known to be bad."""
        return self.entries[-1].text

    def order(self) -> ListOrder:
        """Return the order of the list."""
        return ListOrder(tuple(entry.text for entry in self.entries))

    def described(self, candidate: str) -> str:
        """Return how a kernel is called."""
        return candidate

    def entry(self, candidate: str) -> KernelEntry:
        """Return the entry of a kernel."""
        return next(entry for entry in self.entries if entry.text == candidate)

    @contextmanager
    def built(self, candidate: str) -> Iterator[GuestSide]:
        """Yield a kernel as a side of a comparison; it is in the store already."""
        yield self.entry(candidate).side()


def _parts(text: str) -> Sequence[str]:
    """Split `A,B,C`; a text without a comma is the name of a file, with comments (#) and empty lines."""
    if "," in text or not text.strip():
        return [part for part in text.split(",") if part.strip()]
    try:
        lines = read_bounded_text(Path(text), _MAX_BYTES).splitlines()
    except UnreadableFile as error:
        raise UsageError(f"--kernels: expected A,B,C or a file with a kernel in each line; {error}") from None
    return [line for line in (each.partition("#")[0].strip() for each in lines) if line]


def _place(entries: Sequence[KernelEntry], option: str, name: str) -> int:
    """Return the place of a kernel, by its whole text or by its name where only one has it."""
    wanted = " ".join(name.split())
    whole = [index for index, entry in enumerate(entries) if entry.text == wanted]
    found = whole or [index for index, entry in enumerate(entries) if entry.name == wanted]
    if len(found) > 1:
        texts = ", ".join(entries[index].text for index in found)
        raise UsageError(f"{option} {name}: several of --kernels have this name: {texts}; give the whole text of one")
    if not found:
        known = hint(wanted, [entry.text for entry in entries])
        raise UsageError(f"{option} {name or repr(name)}: not in --kernels{known}")
    return found[0]
