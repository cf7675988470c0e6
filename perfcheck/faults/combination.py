"""The matrix: every injector on every path and load that shows it, each with its healthy twin."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from perfcheck.errors import FaultError, ScenarioError
from perfcheck.faults.building import healthy, injected, parameters
from perfcheck.faults.document import LoadSpec, PairSpec, PathSpec
from perfcheck.faults.loading import Fault, Library
from perfcheck.model.scenario import Scenario
from perfcheck.scenario import load_text

TWIN: Final = "twin"
HEALTHY: Final = "healthy"
PAIRS: Final = "pairs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One fault on one path with one load and severity, or a healthy run; `name` says all of it.

    `causes` is `("healthy",)` for a twin and a harmless load, and has two names for a pair of faults. `document` is a
    whole scenario, `twin` the name of the healthy combination that differs by the injection alone (None for a twin).
    `exemplary` is false of a healthy run that is only there to be compared with: its load is at the edge of a cause.
    `held_out` names what of it a fit may not see: `injector`, `path` or `load`.
    """

    name: str
    causes: tuple[str, ...]
    injector: str
    means: tuple[str, ...]
    path: str
    load: str
    severity: str
    document: dict[str, Any]
    twin: str | None
    held_out: tuple[str, ...] = ()
    drop_reasons: tuple[str, ...] = ()
    exemplary: bool = True

    @property
    def fit(self) -> bool:
        """Whether a fit of the diagnosis may use it."""
        return not self.held_out

    def text(self) -> str:
        """Return the scenario file."""
        return yaml.safe_dump(self.document, sort_keys=False, width=120)

    def scenario(self) -> Scenario:
        """Return the scenario; ScenarioError where the document is none."""
        return load_text(self.text(), f"{self.name}.yaml")[0]


def combinations(library: Library) -> tuple[Combination, ...]:
    """Return all combinations, twins first; FaultError says at which injector one cannot be made."""
    made: list[Combination] = []
    for fault in library.faults:
        made += _of_fault(library, fault)
    for pair in library.pairs:
        made += _of_pair(library, pair)
    used = dict.fromkeys((each.path, each.load) for each in made)
    twins = [_twin(library.paths[path], library.loads[load]) for path, load in used]
    return (*twins, *made)


def checked(fault: Combination) -> Combination:
    """Return the combination once its document loads as a scenario; ScenarioError says what is wrong with it."""
    try:
        fault.scenario()
    except ScenarioError as error:
        raise ScenarioError(*error.problems) from None
    return fault


def interleaved(faults: Iterable[Combination]) -> Iterator[Combination]:
    """Yield the faults so that what is cut off has some of each: one of each injector, causes in turn, then the next.

    Of one injector, path, load and severity are in an order that looks random and is always the same.
    """
    of_injector: dict[tuple[tuple[str, ...], str], list[Combination]] = defaultdict(list)
    for each in faults:
        of_injector[each.causes, each.injector].append(each)
    of_cause: dict[tuple[str, ...], list[list[Combination]]] = defaultdict(list)
    for (causes, _), each_of in of_injector.items():
        of_cause[causes].append(sorted(each_of, key=lambda one: hashlib.sha256(one.name.encode()).digest()))
    # Causes in turn; within a cause its injectors in turn.
    injectors = list(_in_turn(list(of_cause.values())))
    yield from _in_turn(injectors)


def _in_turn(queues: Sequence[list[Any]]) -> Iterator[Any]:
    for place in range(max(map(len, queues), default=0)):
        for queue in queues:
            if place < len(queue):
                yield queue[place]


def _scenario_name(name: str) -> str:
    """Return a scenario's name, which may be short only: the first part of the combination's, and a hash of it all."""
    first = name.partition("/")[0].replace("_", "-")
    return f"{first}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _held_out(path: PathSpec, load: LoadSpec, *, injector_fit: bool = True) -> tuple[str, ...]:
    flags = {"injector": injector_fit, "path": path.fit, "load": load.fit}
    return tuple(name for name, fit in flags.items() if not fit)


def _twin(path: PathSpec, load: LoadSpec) -> Combination:
    name = "/".join((TWIN, path.name, load.name))
    return Combination(
        name=name, causes=(HEALTHY,), injector=TWIN, means=("none",),
        path=path.name, load=load.name, severity="none", twin=None, held_out=_held_out(path, load),
        document=healthy(path, load, _scenario_name(name)), exemplary=load.exemplary,
    )  # fmt: skip


def _of_fault(library: Library, fault: Fault) -> Iterator[Combination]:
    spec = fault.spec
    for path, load in _places(library, spec.paths, spec.loads):
        for severity, values in spec.severities.items():
            name = "/".join((fault.cause, spec.name, path.name, load.name, severity))
            document = healthy(path, load, _scenario_name(name))
            try:
                document = injected(document, spec.changes, parameters(path, load) | values)
            except ValueError as error:
                raise FaultError(fault.file.problem((*fault.loc, "changes"), str(error))) from None
            yield Combination(
                name=name, causes=(fault.cause,), injector=spec.name, means=(spec.means,), path=path.name,
                load=load.name, severity=severity, document=document, twin="/".join((TWIN, path.name, load.name)),
                held_out=_held_out(path, load, injector_fit=spec.fit),
                drop_reasons=(spec.drop_reason,) if spec.drop_reason else (),
            )  # fmt: skip


def _of_pair(library: Library, pair: PairSpec) -> Iterator[Combination]:
    by_name = {(fault.cause, fault.spec.name): fault for fault in library.faults}
    chosen = []
    for name in pair.faults:
        cause, injector, severity = name.split("/")
        chosen.append((by_name[cause, injector], severity))
    for path, load in _places(library, pair.paths, pair.loads):
        name = "/".join((PAIRS, pair.name, path.name, load.name))
        document = healthy(path, load, _scenario_name(name))
        for fault, severity in chosen:
            values = parameters(path, load) | fault.spec.severities[severity]
            document = injected(document, fault.spec.changes, values)
        yield Combination(
            name=name, causes=tuple(fault.cause for fault, _ in chosen),
            injector=pair.name, means=tuple(fault.spec.means for fault, _ in chosen), path=path.name, load=load.name,
            severity="+".join(severity for _, severity in chosen), document=document,
            twin="/".join((TWIN, path.name, load.name)), held_out=_held_out(path, load, injector_fit=pair.fit),
            drop_reasons=tuple(fault.spec.drop_reason for fault, _ in chosen if fault.spec.drop_reason),
        )  # fmt: skip


def _places(library: Library, paths: Iterable[str], loads: Sequence[str]) -> Iterator[tuple[PathSpec, LoadSpec]]:
    for path in paths:
        for load in loads:
            yield library.paths[path], library.loads[load]
