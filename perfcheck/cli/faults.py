"""`perfcheck faults`: list the fault matrix, run parts of it, write one of its scenario files."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from perfcheck.errors import OutputError, UsageError
from perfcheck.faults import Combination, combinations, interleaved, load_library
from perfcheck.model.printable import ascii_json
from perfcheck.output import ConsoleProgress
from perfcheck.output.terminal import console_for
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.fault_run import FaultBench, FaultRun, compared_values
from perfcheck.scenario import hint
from perfcheck.system.printing import say

_MOST_NAMED: Final = 20


def list_faults(arguments: argparse.Namespace) -> int:
    """Print the injectors of each cause, or of one, with how many combinations each has; `--names` prints those."""
    found = _of_cause(_every(arguments), arguments.cause)
    if arguments.names:
        for each in found:
            say(each.name)
        return 0
    table = Table("cause", "injector", "means", "paths", "loads", "severities", "runs", box=None, header_style="bold")
    for causes, injector in dict.fromkeys((each.causes, each.injector) for each in found):
        own = [each for each in found if (each.causes, each.injector) == (causes, injector)]
        places = [[each.path for each in own], [each.load for each in own], [each.severity for each in own]]
        table.add_row(
            Text(" + ".join(causes)), Text(injector), Text(", ".join(dict.fromkeys(own[0].means))),
            *(Text(", ".join(dict.fromkeys(words))) for words in places), str(len(own)),
        )  # fmt: skip
    console_for().print(table)
    return 0


def write_fault(arguments: argparse.Namespace) -> int:
    """Print the scenario file of one combination; a twin's name gives the healthy one."""
    (found,) = _named(_every(arguments), [arguments.name], one=True)
    say(f"# {found.name}: cause {' + '.join(found.causes)}, by {', '.join(found.means)}")
    if found.twin is not None:
        say(f"# The same without the fault: perfcheck faults write {found.twin}")
    say(found.text().rstrip("\n"))
    return 0


def run_faults(arguments: argparse.Namespace) -> int:
    """Measure faults beside their healthy twins, and say what moved and what was named; 1 where one was misnamed.

    A fault that moved nothing is no example of its cause, and not judged.
    """
    every = _every(arguments)
    chosen = _named(every, arguments.names) if arguments.names else _one_of_each(every)
    console = console_for()
    table = Table("fault", "named", "moved", box=None, header_style="bold")
    runs: list[FaultRun] = []
    with ExitStack() as stack:
        events = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "events.jsonl"
        progress = stack.enter_context(ConsoleProgress(console))
        runner = stack.enter_context(Runner.create(RunOptions(events=events), progress))
        bench = FaultBench(runner, events)
        twins: dict[str, FaultRun] = {}
        for one in chosen:
            if one.twin is not None and one.twin not in twins:
                twins[one.twin] = bench.run(every[one.twin])
                runs.append(twins[one.twin])
            twin = twins.get(str(one.twin))
            before = [compared_values(twin.record)] if twin is not None and twin.counts and twin.record else []
            runs.append(bench.run(one, before))
            table.add_row(*_row(runs[-1]))
    console.print(table)
    if arguments.json is not None:
        _append(arguments.json, runs)
    if not all(each.counts for each in runs):
        return 3
    return 1 if any(_misnamed(each) for each in runs) else 0


def _row(found: FaultRun) -> tuple[Text, Text, Text]:
    name = Text(found.combination.name)
    if found.record is None or not found.counts:
        return name, Text("not measured", "red"), Text(found.problem or "")
    first = found.record.diagnosis[0]
    moved = "nothing" if found.moved == () else "; ".join(str(each) for each in (found.moved or ())[:3])
    return name, Text(f"{first.cause} {first.confidence:.2f}", "red" if _misnamed(found) else "green"), Text(moved)


def _misnamed(found: FaultRun) -> bool:
    """Whether another cause was named than what was injected, of a fault that moved something or of a healthy run."""
    causes = found.combination.causes
    if found.record is None or not found.counts or (causes != ("healthy",) and not found.moved):
        return False
    named = found.record.diagnosis[0].cause
    harmless = {"healthy", "application_limited"}
    return named not in (harmless if causes == ("healthy",) else causes)


def _append(path: Path, runs: Iterable[FaultRun]) -> None:
    try:
        with path.open("a", encoding="ascii") as stream:
            stream.writelines(ascii_json(json.dumps(each.as_dict(), separators=(",", ":"))) + "\n" for each in runs)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the runs: {error.strerror}") from error


def _every(arguments: argparse.Namespace) -> dict[str, Combination]:
    """Return the combinations of the matrix that is asked for, by name."""
    return {each.name: each for each in combinations(load_library(arguments.library))}


def _of_cause(every: Mapping[str, Combination], cause: str | None) -> list[Combination]:
    found = [each for each in every.values() if each.twin is not None]
    known = dict.fromkeys(cause for each in found for cause in each.causes)
    if cause is not None and cause not in known:
        raise UsageError(f"no fault has the cause {cause!r}{hint(cause, known)}")
    return [each for each in found if cause is None or cause in each.causes]


def _one_of_each(every: Mapping[str, Combination]) -> list[Combination]:
    """Return one combination of each injector."""
    first: dict[tuple[tuple[str, ...], str], Combination] = {}
    for each in interleaved(each for each in every.values() if each.twin is not None):
        first.setdefault((each.causes, each.injector), each)
    return list(first.values())


def _named(every: Mapping[str, Combination], names: Sequence[str], *, one: bool = False) -> list[Combination]:
    """Return the combinations of the names: a whole name is one, the begin of names (`cause`, `cause/injector`) all.

    Raises:
        UsageError: a name is nobody's, or stands for several where one is wanted.
    """
    found: dict[str, Combination] = {}
    for name in names:
        own = [every[name]] if name in every else [each for each in every.values() if each.name.startswith(f"{name}/")]
        if not own:
            raise UsageError(f"no fault is called {name!r}{hint(name, every)}; `perfcheck faults list --names`")
        if one and len(own) > 1:
            some = ", ".join(each.name for each in own[:_MOST_NAMED])
            raise UsageError(f"{name} stands for {len(own)} faults: {some}...; name one")
        found |= {each.name: each for each in own}
    return list(found.values())
