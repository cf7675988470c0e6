"""What `perfcheck run` and `perfcheck compare` print: a table for each scenario, the texts of failures, the counts."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.output.cases import MEASURED, Case, Status, cases, failures, untrusted
from perfcheck.output.cost import cost_lines
from perfcheck.output.explain import background, why_lines
from perfcheck.output.profile import profile_lines
from perfcheck.output.real_links import real_link_lines
from perfcheck.output.rows import Row, cause_text, circumstances, needs, notes, remarks, scenario_label, value_text
from perfcheck.output.stages import stage_lines
from perfcheck.output.table import plain_table, styled_table, styled_tally


class ConsoleOutput:
    """Prints each record as it comes; colours and box lines on a terminal only."""

    def __init__(self, console: Console, *, why: bool = False) -> None:
        """Print to this console; `why`: with what each diagnosis rests on."""
        self._console = console
        self._why = why
        self._rows: list[Row] = []
        self._scenarios = 0
        self._told: set[str] = set()

    @property
    def name(self) -> str:
        """Name of the format."""
        return "console"

    def open(self) -> None:
        """Forget earlier records."""
        self._rows = []
        self._scenarios = 0
        self._told = set()

    def write(self, record: RunRecord) -> None:
        """Print one record."""
        found = cases(record)
        self._scenarios += 1
        self._rows += [case.row for case in found]
        if not record.trials and record.invalid_reason in self._told:
            # Such as missing privileges, which all scenarios of a run share.
            self._say(f"{found[0].status.value.upper()}  {found[0].scenario}: {found[0].headline}", "bold red")
            return
        if record.invalid_reason is not None:
            self._told.add(record.invalid_reason)
        self._say(f"{scenario_label(record)}: {printable(record.scenario.title or record.scenario.file)}", "bold")
        if untrusted(record) is None:
            self._print_results(record, found)
        failed = any(case.status is Status.FAILED for case in found)
        self._print_failures(found, background(record) if failed else "")
        self._say("")

    def close(self) -> None:
        """Print the counts; safe to call twice."""
        if not self._rows:
            return
        said = f"{self._scenarios} scenario{'s' if self._scenarios != 1 else ''}: "
        self._say(Text(said).append_text(styled_tally(self._rows)))
        self._rows = []

    def _print_results(self, record: RunRecord, found: tuple[Case, ...]) -> None:
        rows = [case.row for case in found]
        if all(case.name == MEASURED for case in found):
            rows += _measured_rows(record)
        for line in (*real_link_lines(record), *circumstances(record)):
            self._say(printable(line))
        self._say(styled_table(rows, self._console.width) if self._console.is_terminal else plain_table(rows))
        if record.diagnosis[0].confidence > 0:
            self._say(f"diagnosis: {printable(cause_text(record.diagnosis[0]))}{printable(_of_entries(record))}")
        # A failure says it itself.
        for line in () if any(case.status is Status.FAILED for case in found) else profile_lines(record):
            self._say(printable(line))
        for line in why_lines(record) if self._why else ():
            self._say(printable(line))
        for line in (*stage_lines(record), *notes(rows), *needs(record), *remarks(record), *cost_lines(record)):
            self._say(printable(line))

    def _print_failures(self, found: tuple[Case, ...], shared: str = "") -> None:
        """Print each failure's own part, then once what the failures of the run share."""
        failed = tuple(failures(found))
        for case in failed:
            self._say("")
            self._say(f"{case.status.value.upper()}  {case.scenario}: {case.headline}", "bold red")
            if case.details:
                self._say(case.details)
        if failed and shared:
            self._say("")
            self._say(shared)

    def _say(self, text: str | Text, style: str = "") -> None:
        """Print as it is: no markup, no highlighting, no wrapping, so that commands can be copied."""
        shown = Text(text, style=style) if isinstance(text, str) else text
        self._console.print(shown, soft_wrap=True, highlight=False)


def _of_entries(record: RunRecord) -> str:
    """Return each traffic entry's own cause, where there are several."""
    found = {name: subject.diagnosis[0] for name, subject in record.subjects.items() if subject.diagnosis}
    return f" ({', '.join(f'{name}: {cause.cause}' for name, cause in found.items())})" if len(found) > 1 else ""


def _measured_rows(record: RunRecord) -> tuple[Row, ...]:
    """Show the metrics that a baseline would hold, where a scenario asserts nothing."""
    label = scenario_label(record)
    own = record.scenario.own_metrics
    return tuple(
        Row(scenario=label, metric=name, value=value_text(record.metrics[name].value, spec.unit))
        for name, spec in catalogue_of(record).items()
        if (spec.compared or name in own) and name in record.metrics
    )
