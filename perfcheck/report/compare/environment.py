"""The environments and settings of both sides, side by side, with what differs first and marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perfcheck.model.record import RunRecord
from perfcheck.report.compare.sides import Compared
from perfcheck.report.document import Block, Cell, Fold, Paragraph, Table, Tone

ABSENT: Final = "-"
_FIRST: Final = ("kernel.release", "kernel.version", "kernel.cmdline", "cpu.model", "cpu.count", "virtualisation")
"""What a kernel developer looks at first."""
_DIFFERENT: Final = "≠"


def environment_blocks(compared: Compared) -> tuple[Block, ...]:
    """Return the table of what differs, and behind a line that of what does not."""
    before, after = (_environment(each) for each in (compared.before, compared.after))
    settings = _settings(compared)
    names = sorted({*before, *after}, key=lambda name: (_place(name), name))
    different = [name for name in names if before.get(name) != after.get(name)]
    same = [name for name in names if name not in set(different)]
    rows = [_row(name, was, now) for name, (was, now) in settings.items()]
    rows += [_row(name, before.get(name), after.get(name)) for name in different]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(headings=("differs", "A", "B"), rows=tuple(rows), stacks=True))
    else:
        blocks.append(Paragraph(
            text="Neither settings nor environments differ: what moved has another reason, or is noise.",
            tone=Tone.WARNING,
        ))  # fmt: skip
    if same:
        table = Table(
            headings=("the same", "A and B"), rows=tuple((Cell(text=name), Cell(text=before[name])) for name in same)
        )
        blocks.append(Fold(summary=f"{len(same)} settings and facts are the same", blocks=(table,), printed=False))
    return tuple(blocks)


def _environment(record: RunRecord) -> dict[str, str]:
    emulators = {f"emulator of {name}": _emulator(value) for name, value in record.emulators.items()}
    return {name: _text(value) for name, value in record.environment.items()} | emulators


def _emulator(value: Any) -> str:
    """Return which emulator a link has; what was measured of it is no setting."""
    return _text(value.get("emulator", ABSENT) if isinstance(value, Mapping) else value)


def _settings(compared: Compared) -> Mapping[str, tuple[str | None, str | None]]:
    """Return the scenario's settings that differ, as the records say."""
    before, after = compared.before.scenario.conditions, compared.after.scenario.conditions
    own = {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }
    told = {
        name: (was or None, now or None)
        for name, (was, now) in sorted(compared.after.changed_conditions.items())
        if not name.startswith("environment.")
    }  # fmt: skip
    return {**told, **own}


def _row(name: str, before: str | None, after: str | None) -> tuple[Cell, ...]:
    return (
        Cell(text=f"{_DIFFERENT} {name}", tone=Tone.WARNING), Cell(text=before or ABSENT),
        Cell(text=after or ABSENT, tone=Tone.WARNING),
    )  # fmt: skip


def _place(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value)
