"""One setting of a real machine, as a scenario file or a side of a comparison names it.

The words are those of the tools that set it by hand: `ethtool -K eth1 gro off`. What a setting was before, and how it
is written, is `system/device_settings.py`'s.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

SettingKind = Literal["features", "rings", "coalesce", "channels", "modparam", "qdisc", "module"]

FORMS: Final = (
    "ethtool -K IFACE FEATURE on|off", "ethtool -G IFACE rx N", "ethtool -C IFACE rx-usecs N",
    "ethtool -L IFACE combined N", "modparam MODULE.PARAM=VALUE", "tc qdisc replace dev IFACE root KIND ...",
    "reload MODULE [PARAM=VALUE]",
)  # fmt: skip
MAX_WORDS: Final = 64
MAX_CHARACTERS: Final = 1000
INTERFACE: Final = r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}"

RINGS: Final = ("rx", "rx-mini", "rx-jumbo", "tx")
CHANNELS: Final = ("rx", "tx", "other", "combined")
COALESCE: Final = (
    "rx-usecs", "rx-frames", "rx-usecs-irq", "rx-frames-irq", "tx-usecs", "tx-frames", "tx-usecs-irq",
    "tx-frames-irq", "stats-block-usecs", "adaptive-rx", "adaptive-tx", "pkt-rate-low", "rx-usecs-low",
    "rx-frames-low", "tx-usecs-low", "tx-frames-low", "pkt-rate-high", "rx-usecs-high", "rx-frames-high",
    "tx-usecs-high", "tx-frames-high", "sample-interval",
)  # fmt: skip
"""ethtool(8)'s words, in the order of the kernel's structs."""
SWITCHES: Final = ("adaptive-rx", "adaptive-tx")
"""Words of COALESCE that are on or off."""

_MODULE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_FEATURE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_VALUE: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,199}")
_MAX_NUMBER: Final = 2**32 - 1
_WORDS: Final = {"-G": ("rings", RINGS), "-C": ("coalesce", COALESCE), "-L": ("channels", CHANNELS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is set: of an interface or a module (`target`), which values by which names, and the user's own words.

    A qdisc's value is under `root`: the words after it.
    """

    kind: SettingKind
    target: str
    values: tuple[tuple[str, str], ...]
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the words of one setting; ValueError says what is wrong with them."""
        if len(text) > MAX_CHARACTERS or not text.isprintable():
            raise ValueError(f"expected a setting of at most {MAX_CHARACTERS} printable characters")
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"cannot be split into words by the quoting rules of a shell: {error}") from None
        if len(words) > MAX_WORDS:
            raise ValueError(f"expected at most {MAX_WORDS} words")
        match words:
            case ["ethtool", "-K", interface, *rest] if rest:
                return cls(kind="features", target=_interface(interface), values=tuple(_features(rest)), text=text)
            case ["ethtool", "-G" | "-C" | "-L" as option, interface, *rest] if rest:
                kind, known = _WORDS[option]
                values = tuple(_numbers(rest, known))
                return cls(kind=_kind(kind), target=_interface(interface), values=values, text=text)
            case ["modparam", assignment]:
                return cls._module_parameter(assignment, text)
            case ["tc", "qdisc", "replace" | "add", "dev", interface, "root", *rest] if rest:
                return cls(
                    kind="qdisc", target=_interface(interface), values=(("root", shlex.join(rest)),), text=text
                )  # fmt: skip
            case ["reload", module, *rest]:
                return cls(kind="module", target=_module(module), values=tuple(_assignments(rest)), text=text)
        raise ValueError(f"expected one of: {'; '.join(FORMS)}; got {text!r}")

    @classmethod
    def _module_parameter(cls, assignment: str, text: str) -> Self:
        name, _, value = assignment.partition("=")
        module, dot, parameter = name.partition(".")
        if not dot or not _MODULE.fullmatch(parameter) or not _VALUE.fullmatch(value):
            raise ValueError(f"expected MODULE.PARAM=VALUE, got {assignment!r}")
        return cls(kind="modparam", target=_module(module), values=((parameter, value),), text=text)


def _kind(name: str) -> SettingKind:
    kinds: dict[str, SettingKind] = {"rings": "rings", "coalesce": "coalesce", "channels": "channels"}
    return kinds[name]


def _interface(name: str) -> str:
    if not re.fullmatch(INTERFACE, name):
        raise ValueError(f"expected the name of an interface such as eth1, got {name!r}")
    return name


def _module(name: str) -> str:
    if not _MODULE.fullmatch(name):
        raise ValueError(f"expected the name of a kernel module such as e1000e, got {name!r}")
    return name


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    if len(words) % 2:
        raise ValueError(f"expected pairs of a name and a value, got {shlex.join(words)!r}")
    names = words[::2]
    if len(set(names)) < len(names):
        raise ValueError(f"each name may be given once, got {shlex.join(words)!r}")
    yield from zip(names, words[1::2], strict=True)


def _features(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, value in _pairs(words):
        if not _FEATURE.fullmatch(name) or value not in {"on", "off"}:
            raise ValueError(f"expected FEATURE on or off, got {name!r} {value!r}")
        yield name, value


def _numbers(words: Sequence[str], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, value in _pairs(words):
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}; got {name!r}")
        if name in SWITCHES and value in {"on", "off"}:
            yield name, str(int(value == "on"))
        elif name not in SWITCHES and value.isascii() and value.isdecimal() and int(value) <= _MAX_NUMBER:
            yield name, str(int(value))
        else:
            raise ValueError(f"expected {name} {'on or off' if name in SWITCHES else 'and a number'}, got {value!r}")


def _assignments(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _MODULE.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"expected PARAM=VALUE, got {word!r}")
        yield name, value
