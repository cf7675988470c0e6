"""Where a load's instructions went: which functions of the kernel B runs more or less of than A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perfcheck.model.path_profile import CountRecord, FunctionRecord, PathProfile
from perfcheck.model.units import readable_pct
from perfcheck.output.profile import LEAST_SHARE, told_unit
from perfcheck.report.charts.gains import Gain, gains
from perfcheck.report.charts.lines import Labels
from perfcheck.report.compare.sides import Compared
from perfcheck.report.document import Block, Cell, Figures, Paragraph, Section, Table, Tone

MOST_DRAWN: Final = 16
MOST_ROWS: Final = 60


def profile_sections(compared: Compared, number: int) -> tuple[Section, ...]:
    """Return a section for each load that has a profile of both sides."""
    found = [(entry, profile) for entry, profile in compared.after.profiles.items() if profile.total.a is not None]
    return tuple(
        Section(
            anchor=f"profile-{number}-{place}", title=f"{entry}: instructions by function",
            blocks=_blocks(profile, f"{number}-{place}"),
        )
        for place, (entry, profile) in enumerate(found, 1)
    )  # fmt: skip


def _blocks(profile: PathProfile, suffix: str) -> tuple[Block, ...]:
    many, unit = told_unit(profile)
    least = LEAST_SHARE * profile.total.b
    moved = [each for each in profile.functions if each.instructions.clear and abs(each.instructions.change) >= least]
    blocks: list[Block] = [Paragraph(text=_result(profile, moved, many, unit))]
    if moved:
        labels = Labels(name=f"functions-{suffix}", title=f"instructions {unit}: B less A, by function",
                        quantity=f"instructions {unit}", unit="")  # fmt: skip
        drawn = [_gain(each, many) for each in moved[:MOST_DRAWN]]
        blocks += [Figures(charts=(gains(labels, drawn),)), _table(moved, many)]
    return tuple(blocks)


def _result(profile: PathProfile, moved: Sequence[FunctionRecord], many: int, unit: str) -> str:
    total = profile.total
    share = f" ({'+' * (total.change > 0)}{readable_pct(100 * total.change / total.a, 3)})" if total.a else ""
    more = "fewer" if total.change < 0 else "more"
    text = (
        f"B runs {many * abs(total.change):,.0f} {more} instructions {unit}{share}: "
        f"{many * (total.a or 0):,.0f} with A, {many * total.b:,.0f} with B."
    )
    if not moved:
        return f"{text} No single function moved beyond the noise."
    grew = sum(each.instructions.change > 0 for each in moved)
    parts = [f"{name} {many * count.change:+,.0f}" for name, count in profile.contexts.items() if count.clear]
    where = f" By context: {', '.join(parts)}." if parts else ""
    return f"{text} {grew} functions grew and {len(moved) - grew} shrank beyond the noise.{where}"


def _gain(function: FunctionRecord, many: int) -> Gain:
    count = function.instructions
    return Gain(name=name_of(function), before=many * (count.a or 0.0), after=many * count.b, noise=many * count.noise)


def _table(moved: Sequence[FunctionRecord], many: int) -> Table:
    rows = tuple(_row(each, each.instructions, many) for each in moved[:MOST_ROWS])
    left = len(moved) - MOST_ROWS
    return Table(
        headings=("function", "A", "B", "change", "noise", ""), rows=rows, numeric=frozenset({1, 2, 3, 4}),
        caption=f"{left} more functions moved less" if left > 0 else "",
    )  # fmt: skip


def _row(function: FunctionRecord, count: CountRecord, many: int) -> tuple[Cell, ...]:
    before, after = many * (count.a or 0.0), many * count.b
    word = "not run by A" if before == 0 else "not run by B" if after == 0 else ""
    tone = Tone.BAD if count.change > 0 else Tone.GOOD
    return (
        Cell(text=name_of(function)), Cell(text=f"{before:,.1f}"), Cell(text=f"{after:,.1f}"),
        Cell(text=f"{after - before:+,.1f}", tone=tone), Cell(text=f"{many * count.noise:,.1f}"), Cell(text=word),
    )  # fmt: skip


def name_of(function: FunctionRecord) -> str:
    """Return a function's name with its modules."""
    return f"{function.name} [{', '.join(function.modules)}]" if function.modules else function.name
