"""What is compared: the records of two sides of one scenario, and how each side is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from perfcheck.model.label import short_key
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import scenario_label
from perfcheck.report.document import Badge, Tone

A: Final = "A"
B: Final = "B"
VERDICT_TONES: Final[Mapping[Verdict, Tone]] = MappingProxyType({
    Verdict.PASS: Tone.GOOD, Verdict.IMPROVED: Tone.INFO, Verdict.REGRESSED: Tone.BAD, Verdict.FAIL: Tone.BAD,
    Verdict.INVALID: Tone.WARNING, Verdict.INCONCLUSIVE: Tone.WARNING, Verdict.NO_BASELINE: Tone.NEUTRAL,
})  # fmt: skip
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One scenario: `before` is A's record, `after` B's, which has the comparisons.

    `names` are what is told of A and B where the records do not say it: the files that they are of. `folders` are where
    these are, since a record may name its series from there.
    """

    before: RunRecord
    after: RunRecord
    names: tuple[str, str] = ("", "")
    folders: tuple[Path, Path] = (Path(), Path())

    @property
    def label(self) -> str:
        """The scenario with its matrix point."""
        return scenario_label(self.after)

    @property
    def paired(self) -> bool:
        """Whether both sides were measured in interleaved pairs."""
        return self.after.sides is not None

    @property
    def side_texts(self) -> tuple[str, str]:
        """What A and B are, in words: the settings of pairs, else kernel releases that differ, else the files."""
        if self.after.sides is not None:
            first, second = (_FORMS.get(text, text) for text in self.after.sides)
            return first, second
        releases = tuple(str(each.environment.get("kernel.release", "")) for each in (self.before, self.after))
        if all(releases) and releases[0] != releases[1]:
            return f"kernel {releases[0]}", f"kernel {releases[1]}"
        return self.names

    @property
    def chart_names(self) -> tuple[str, str]:
        """What A and B are called in charts: short."""
        found = [f"{letter}: {_short(text)}" for letter, text in zip((A, B), self.side_texts, strict=True)]
        return found[0], found[1]

    @property
    def runs(self) -> tuple[int, int]:
        """How many runs of A and of B count."""
        before, after = (sum(trial.valid for trial in each.trials) for each in (self.before, self.after))
        return before, after

    def values(self, metric: str) -> tuple[list[float], list[float]]:
        """Return the values of A's and of B's runs that count; of pairs those alone whose two runs both have it."""
        sides = [
            {trial.index: trial.figures[metric] for trial in each.trials if trial.valid and metric in trial.figures}
            for each in (self.before, self.after)
        ]
        if self.paired:
            both = [index for index in sides[0] if index in sides[1]]
            return [sides[0][index] for index in both], [sides[1][index] for index in both]
        return list(sides[0].values()), list(sides[1].values())

    def of(self, *verdicts: Verdict) -> tuple[ComparisonRecord, ...]:
        """Return the comparisons with one of these verdicts."""
        return tuple(each for each in self.after.comparisons if each.verdict in verdicts)


def badge_of(verdict: Verdict) -> Badge:
    """Return a verdict as a badge."""
    return Badge(text=verdict.value, tone=VERDICT_TONES[verdict])


_CHART_CHARACTERS: Final = 40
_FORMS: Final = {"file": "as the file says"}


def _short(text: str) -> str:
    """Return a side's text in few characters: a sysctl by its last part."""
    words = text.split(maxsplit=1)
    if len(words) == 2 and words[0] == "sysctl":
        key, sign, value = words[1].partition("=")
        text = f"{short_key(key)}{sign}{value}"
    return text if len(text) <= _CHART_CHARACTERS else f"{text[: _CHART_CHARACTERS - 1]}…"
