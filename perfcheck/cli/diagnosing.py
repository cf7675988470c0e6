"""`perfcheck diagnose`: the causes of stored records or of a fresh run, and the test of a cause by an intervention."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.cli.formats import STDOUT
from perfcheck.cli.measuring import begun, final_status, opened, recorded
from perfcheck.diagnose import load_rules
from perfcheck.errors import PerfcheckError, UsageError
from perfcheck.model.confirmation import ConfirmationRecord
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output import ConsoleProgress, JsonLinesOutput, Outputs, read_records
from perfcheck.output.diagnosis import confirmation_lines, diagnosis_lines
from perfcheck.output.rows import scenario_label
from perfcheck.output.terminal import SafeConsole, console_for
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.rediagnosis import diagnosed_again
from perfcheck.runner.unmeasured import unmeasured
from perfcheck.scenario import ScenarioFile, is_scenario, load_all

SUFFIXES: Final = (".yaml", ".yml")
NO_LIMIT: Final = ("healthy", "unknown")
PROBABLE: Final = 0.5
"""From this confidence on a cause beside the first is tested, too."""
MOST_TESTED: Final = 3
_WIDEST: Final = 160
_IN_A_FILE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """A cause to be tested, and the traffic entry that has it (None: the whole run)."""

    cause: str
    entry: str | None


def diagnose(arguments: argparse.Namespace) -> int:
    """Diagnose a scenario or stored records; 0 whatever the causes are, 2 a bad file, 3 where nothing was measured."""
    if arguments.cause and not arguments.confirm:
        raise UsageError("--cause: has no effect without --confirm")
    if arguments.file.is_dir():
        raise UsageError(f"{arguments.file}: expected a scenario file or a file of run records, got a folder")
    if _is_scenario(arguments.file):
        files = _loaded(arguments, arguments.file)
        scenarios = [one for one in files[0].scenarios if arguments.select is None or arguments.select in one.label]
        if not scenarios:
            raise UsageError(f"--select: no scenario's label contains {arguments.select!r}")
        return _fresh(arguments, files[0], scenarios)
    return _stored(arguments)


def _is_scenario(path: Path) -> bool:
    """Whether a file is a scenario; a record is JSON, and so YAML with the key `scenario` as well."""
    return path.suffix in SUFFIXES or (is_scenario(path) and not _begins_with_brace(path))


def _begins_with_brace(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _loaded(arguments: argparse.Namespace, path: Path) -> tuple[ScenarioFile, ...]:
    return load_all([path], commands=not arguments.no_commands, trace_outside=arguments.trace_outside)


def _options(arguments: argparse.Namespace) -> RunOptions:
    return RunOptions(
        repeat=arguments.repeat, rule_dirs=tuple(arguments.rules), commands=not arguments.no_commands
    )  # fmt: skip


def _outputs(arguments: argparse.Namespace) -> Outputs:
    if arguments.json is None:
        return Outputs([])
    return Outputs([JsonLinesOutput(None if arguments.json == STDOUT else arguments.json)])


def _fresh(arguments: argparse.Namespace, file: ScenarioFile, scenarios: Sequence[Scenario]) -> int:
    """Measure the scenarios, tell their causes and test them."""
    console = console_for(stderr=arguments.json == STDOUT)
    progress = ConsoleProgress(console)
    runner = Runner.create(_options(arguments), progress)
    outputs = _outputs(arguments)
    verdicts: list[Verdict] = []
    wrong: list[PerfcheckError] = []
    with begun(runner, progress, outputs) as refusal:
        measured = recorded(scenarios, runner.run, unmeasured, refusal=refusal, wrong=wrong)
        for scenario, record in zip(scenarios, measured, strict=True):
            progress.clear()
            _apart(console, len(verdicts))
            _tell(console, record)
            with _kept(outputs, record) as found:
                if arguments.confirm and record.verdict is not Verdict.INVALID:
                    _test(arguments, console, progress, runner, scenario, file, record, found)
            verdicts.append(_diagnosed(record))
    return final_status(verdicts, wrong, outputs.problems)


def _diagnosed(record: RunRecord) -> Verdict:
    """Return PASS for a run that could be diagnosed: what is expected of it is not judged here."""
    return Verdict.INVALID if record.verdict is Verdict.INVALID else Verdict.PASS


def _stored(arguments: argparse.Namespace) -> int:
    """Diagnose records again; with `--confirm` their scenarios are run for that."""
    rules = load_rules(arguments.rules)
    records = [
        diagnosed_again(record, rules) for record in read_records(arguments.file)
        if arguments.select is None or arguments.select in scenario_label(record)
    ]  # fmt: skip
    if not records:
        raise UsageError(f"--select: no record's scenario contains {arguments.select!r} in its label")
    console = console_for(stderr=arguments.json == STDOUT)
    outputs = _outputs(arguments)
    verdicts = [Verdict.PASS if any(trial.valid for trial in record.trials) else Verdict.INVALID for record in records]
    if not arguments.confirm:
        with ExitStack() as stack:
            opened(outputs, stack)
            for number, record in enumerate(records):
                _apart(console, number)
                _tell(console, record)
                for tested in record.confirmations:
                    _tell_test(console, tested)
                outputs.write(record)
        return final_status(verdicts, (), outputs.problems)
    sources = [_source_of(arguments, record) for record in records]
    progress = ConsoleProgress(console)
    runner = Runner.create(_options(arguments), progress)
    with begun(runner, progress, outputs) as refusal:
        for number, (record, (file, scenario)) in enumerate(zip(records, sources, strict=True)):
            _apart(console, number)
            _tell(console, record)
            if refusal is not None:
                raise refusal
            with _kept(outputs, record) as found:
                _test(arguments, console, progress, runner, scenario, file, record, found)
    return final_status(verdicts, (), outputs.problems)


def _source_of(arguments: argparse.Namespace, record: RunRecord) -> tuple[ScenarioFile, Scenario]:
    """Return the scenario that a record is of, from the file that it names."""
    path = Path(record.scenario.file)
    if not path.is_file():
        raise UsageError(f"--confirm: the scenario's file {record.scenario.file} is not here; run where it is")
    file = _loaded(arguments, path)[0]
    label = scenario_label(record)
    for scenario in file.scenarios:
        if scenario.label == label:
            return file, scenario
    raise UsageError(f"--confirm: {record.scenario.file} has no scenario {label} any more")


@contextmanager
def _kept(outputs: Outputs, record: RunRecord) -> Iterator[list[ConfirmationRecord]]:
    """Yield a list of tests, and write the record with what is in it then, also where the tests were interrupted."""
    found: list[ConfirmationRecord] = []
    try:
        yield found
    finally:
        outputs.write(record.model_copy(update={"confirmations": tuple(found)}))


def _test(
    arguments: argparse.Namespace, console: SafeConsole, progress: ConsoleProgress, runner: Runner,
    scenario: Scenario, file: ScenarioFile, record: RunRecord, found: list[ConfirmationRecord],
) -> None:  # fmt: skip
    """Test the causes that the record suspects, or the one that the user names; each is told and kept as it comes."""

    def tell(tested: ConfirmationRecord) -> None:
        progress.clear()
        _tell_test(console, tested)
        found.append(tested)

    wanted = [Suspected(cause=arguments.cause, entry=_entry_of(record, arguments.cause))] if arguments.cause else []
    wanted = wanted or list(suspected(record))
    if not wanted:
        console.print(f"  nothing to test: {record.diagnosis[0].cause} names no limit that could be relieved")
    if record.scenario.digest and record.scenario.digest != scenario.digest:
        console.print("  note: the scenario's file is not what it was when this was measured")
    for each in wanted:
        tell(runner.confirm(scenario, each.cause, entry=each.entry, line_of=file.line_of, interrupted=tell))


def suspected(record: RunRecord) -> Iterator[Suspected]:
    """Yield the causes worth a test: the first, and others that are probable and more than information."""
    tested = 0
    for place, cause in enumerate(record.diagnosis):
        if cause.cause in NO_LIMIT or tested >= MOST_TESTED:
            continue
        if place == 0 or (cause.confidence >= PROBABLE and cause.severity != "info"):
            tested += 1
            yield Suspected(cause=cause.cause, entry=_entry_of(record, cause.cause))


def _entry_of(record: RunRecord, cause: str) -> str | None:
    """Return the traffic entry that most probably has the cause, where there are several."""
    entries = {name: found.diagnosis for name, found in record.subjects.items() if found.diagnosis}
    if len(entries) < 2:
        return None
    having = {
        name: each.confidence for name, causes in entries.items() for each in causes
        if each.cause == cause and each.confidence >= PROBABLE
    }  # fmt: skip
    return max(having, key=lambda name: having[name], default=None)


def _tell(console: SafeConsole, record: RunRecord) -> None:
    for line in diagnosis_lines(record, _width(console)):
        console.print(line, soft_wrap=True)


def _tell_test(console: SafeConsole, tested: ConfirmationRecord) -> None:
    for line in confirmation_lines(tested, _width(console)):
        console.print(line, soft_wrap=True)


def _apart(console: SafeConsole, number: int) -> None:
    if number:
        console.print()


def _width(console: SafeConsole) -> int:
    return min(console.width, _WIDEST) if console.is_terminal else _IN_A_FILE
