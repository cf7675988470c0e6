"""Mutations of good files, by bytes, by words, and by the values that a file's format carries; all from one seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any, Final

import yaml

HOSTILE_BYTES: Final = (
    b"\0", b"\x1b[31mred", b"\x07", b"\r", b"\n", b"\n::error::x\n", b"\t", b"\xff", b"\xc3", b"\xed\xa0\x80",
    "\u202e".encode(), "\u2066".encode(), "\u2028".encode(), "\ufeff".encode(), "\x85".encode(), "\U000e0041".encode(),
    b"&a ", b"*a", b"!!python/object/apply:os.getcwd []", b"!!binary x", b"!!set", b"!!timestamp x", b"!x", b"<<: ",
    b"---\n", b"...\n", b"%YAML 9.9\n", b"? ", b"- " * 40, b"[" * 40, b"{a: " * 40, b"'", b'"', b"|", b">", b"#", b": ",
    b"{}", b"[]", b"null", b"~", b"\\u001b", b"\\ud800", b"\\x1b", b"[/b]", b"[bold", b"%s%n{0}", b"../" * 9,
    b"&b [*b]",
)  # fmt: skip
HOSTILE_WORDS: Final = (
    b"NaN", b".nan", b"-.inf", b"Infinity", b"1e308", b"-1e308", b"1e999", b"5e-324", b"-0", b"-0.0", b"-1", b"0",
    b"0x1f",
    b"9" * 30, b"9" * 5000, b"0x" + b"f" * 6000, b"1:59:59:59", b"1_0", b"010", b"true", b"null", b"2001-13-45",
    b"2001-01-01T99:99:99Z", b" " * 3000, b"x" * 3000, b"1e-400", b"10ms", b"1bit", b"9e99min", b"0s", b"200%",
    b"1e9bdp",
)  # fmt: skip
HOSTILE_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, -0.0, 2**63, 2**64, 10**24, 10**300, 1e308, -1e308, 1e23, 1e-29, 5e-324, float("nan"),
    float("inf"), "", " ", "\0", "\x1b[2J", "\u202eabc", "\u2028::error::x", "a\n::error::b", "[/b]", "[bold red]",
    "x" * 3000,
    "../../../../etc/passwd", "{0}%s", "'; DROP TABLE x; --", "NaN", "1e308", "\U000e0041", "\udcff",
    [], {}, [[]], [{}], {"": ""}, {"\x1b[31m": 1}, [1] * 300, {str(n): n for n in range(300)}, [None],
    {"x": {"x": {"x": []}}},
)  # fmt: skip


def mutate_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return the content with one to three places changed: cut, doubled, moved, or with something hostile in."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(EDITS)(content, chance)
    return content


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _repeated(content: bytes, chance: random.Random) -> bytes:
    """Leave a part out, or repeat it."""
    at = chance.randrange(len(content) + 1)
    part = content[at : at + chance.choice((1, 4, 40, 4000))]
    return content[:at] + part * chance.choice((0, 2, 3, 50)) + content[at + len(part) :]


def _with_bytes(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.choice(HOSTILE_BYTES) + content[at:]


def _with_noise(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.randbytes(chance.choice((1, 1, 8))) + content[at + 1 :]


def mutate_value(value: Any, chance: random.Random) -> None:
    """Change one to three values somewhere in nested lists and mappings, keys included, in place."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return
        holder, key = chance.choice(places)
        action = chance.randrange(5)
        if isinstance(holder, MutableMapping) and action == 0:
            holder[chance.choice([text for text in HOSTILE_VALUES if isinstance(text, str)])] = holder.pop(key)
        elif action == 1:
            del holder[key]
        elif action == 2:
            holder[key] = copy.deepcopy(chance.choice([holder[other] for holder, other in places]))
        else:
            holder[key] = copy.deepcopy(chance.choice(HOSTILE_VALUES))


def as_json(value: Any) -> bytes:
    """Return one line of JSON, NaN as Python writes it."""
    return json.dumps(value).encode() + b"\n"


def as_yaml(value: Any, chance: random.Random) -> bytes:
    """Return YAML in block or flow style; equal values may become aliases."""
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=chance.choice((False, True, None)))
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, MutableMapping):
        keys: Any = list(value)
    elif isinstance(value, MutableSequence):
        keys = range(len(value))
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _with_word(content: bytes, chance: random.Random) -> bytes:
    words = [(start, end) for start, end in _words(content) if end > start]
    if not words:
        return content + chance.choice(HOSTILE_WORDS)
    start, end = chance.choice(words)
    return content[:start] + chance.choice(HOSTILE_WORDS) + content[end:]


def _words(content: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for at, byte in enumerate(content):
        if byte in b" ,:{}[]\n\"'":
            yield start, at
            start = at + 1
    yield start, len(content)


def _with_line_moved(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return content * 2
    line = lines.pop(chance.randrange(len(lines)))
    lines.insert(chance.randrange(len(lines) + 1), chance.choice((b"", b"  ", b"\t")) + line)
    return b"".join(lines)


EDITS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    _cut, _repeated, _with_bytes, _with_bytes, _with_noise, _with_word, _with_word, _with_line_moved,
)  # fmt: skip
