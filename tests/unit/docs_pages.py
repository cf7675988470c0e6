"""What pages of the documentation show: their code blocks, and the command lines in these."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PROGRAMS: Final = frozenset({"perfcheck", "perfctl", "pytest"})
_FENCE: Final = re.compile(r" *(`{3,})(\w*)$")
_COMMENT: Final = re.compile(r"\s#\s.*$")
_BEFORE: Final = frozenset({"sudo", "-E", "time", "nice", "git", "bisect", "run", "|", "&&"})
"""What may stand before a program's name in a command line, beside variables and folders."""
_ENDS: Final = frozenset({"|", ">", ">>", "&", "&&", "||", ";", "2>&1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block of a page; `language` is empty where the page does not say it."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command line of one of our programs: where it is, and its words."""

    page: str
    line: int
    program: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return where it is, and what it begins with."""
        return f"{self.page}:{self.line} {self.program} {' '.join(self.words[:2])}"


def blocks(path: Path) -> Iterator[Block]:
    """Yield the code blocks of a page, fenced and indented ones, without their indentation."""
    page = str(path.relative_to(ROOT))
    lines = path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        end = at + 1
        if fence:
            while lines[end].strip() != fence[1]:
                end += 1
            yield Block(page=page, line=at + 2, language=fence[2], text=_text(lines[at + 1 : end]))
            end += 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield Block(page=page, line=at + 1, language="", text=_text(lines[at:end]))
        at = end


def _text(lines: Sequence[str]) -> str:
    return textwrap.dedent("\n".join(lines))


def command_lines(path: Path) -> Iterator[CommandLine]:
    """Yield the command lines of a page's code blocks that begin with one of our programs; ```text is output alone."""
    for block in blocks(path):
        if block.language == "text":
            continue
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            yield from _commands(block, line)


def _commands(block: Block, line: str) -> Iterator[CommandLine]:
    if line.startswith(" "):
        return
    try:
        words = shlex.split(_COMMENT.sub("", line).removeprefix("$ "))
    except ValueError:
        return
    while words and (words[0] in _BEFORE or re.fullmatch(r"[A-Z_0-9]+=.*", words[0])):
        words = words[1:]
    if not words or words[0].rpartition("/")[2] not in PROGRAMS:
        return
    end = next((index for index, word in enumerate(words) if word in _ENDS), len(words))
    program, *rest = words[:end]
    yield CommandLine(page=block.page, line=block.line, program=program.rpartition("/")[2], words=tuple(rest))
