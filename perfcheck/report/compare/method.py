"""How a comparison was measured: runs and their order, margins, what could be seen, and what is left open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.compare.pairs import LOOKS
from perfcheck.model.units import readable_pct
from perfcheck.output.rows import needs, remarks
from perfcheck.report.compare.sides import Compared
from perfcheck.report.document import Block, Bullets, Code, Facts, Paragraph, Tone

_OF_PAIRS: Final = (
    "Runs of A and B were interleaved in random blocks ABBA and BAAB, so that a steady drift of the machine cancels "
    "out. The run is the sample, not the packet. A metric is judged by signed ranks of the pairs' log ratios against "
    f"its margin, at {', '.join(str(look.pairs) for look in LOOKS[:-1])} and {LOOKS[-1].pairs} pairs, until either "
    "answer is certain. A change counts only beyond the margin and beyond the noise."
)
_OF_RECORDS: Final = (
    "A and B are stored records: they were not measured beside each other, and the machine may have changed in "
    "between. The run is the sample, not the packet. A change counts only beyond the margin and beyond the noise of "
    "both. Where both sides can be run on one machine, `perfcheck ab` says more."
)


def method_blocks(compared: Compared) -> tuple[Block, ...]:
    """Return how it was measured, and how it is measured again."""
    before, after = compared.before, compared.after
    runs = compared.runs
    facts = [
        ("measured", "in interleaved pairs" if compared.paired else "one after the other"),
        ("runs that count", f"{runs[0]} of {len(before.trials)} of A, {runs[1]} of {len(after.trials)} of B"),
        ("begun", f"A {before.started_at}, B {after.started_at}"),
        ("run", f"A {before.run_id}, B {after.run_id}"),
        ("scenario file", after.scenario.file or "-"),
        ("workload", _workload(compared)),
        *_costs(compared),
    ]
    blocks: list[Block] = [Paragraph(text=_OF_PAIRS if compared.paired else _OF_RECORDS), Facts(pairs=tuple(facts))]
    noted = tuple(dict.fromkeys(_notes(compared)))
    if noted:
        blocks.append(Bullets(items=noted, tone=Tone.WARNING))
    commands = tuple(dict.fromkeys(filter(None, _commands(compared))))
    blocks += [Code(text=command, copied=True) for command in commands]
    return tuple(blocks)


def _workload(compared: Compared) -> str:
    digests = (compared.before.scenario.workload, compared.after.scenario.workload)
    if digests[0] == digests[1]:
        return f"the same ({digests[0][:12]})" if digests[0] else "not recorded"
    return f"not the same: {digests[0][:12] or '-'} and {digests[1][:12] or '-'}"


def _costs(compared: Compared) -> Iterator[tuple[str, str]]:
    known = (each.overhead.get("cpu_pct") for each in (compared.before, compared.after))
    costs = [readable_pct(cost, 2) for cost in known if isinstance(cost, int | float)]
    if len(costs) == 2:
        yield "cost of measuring", f"{costs[0]} of one CPU with A, {costs[1]} with B"


def _notes(compared: Compared) -> Iterator[str]:
    for letter, record in (("A", compared.before), ("B", compared.after)):
        yield from (f"{letter}: {text}" for text in remarks(record))
    yield from needs(compared.after)


def _commands(compared: Compared) -> Iterator[str]:
    if compared.paired:
        yield compared.after.reproduce
    else:
        yield from (compared.before.reproduce, compared.after.reproduce)
