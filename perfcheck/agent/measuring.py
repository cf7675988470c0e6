"""The collectors of an agent's machine, scoped to its own network namespace; needs numpy there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from perfcheck.agent.own_connection import Endpoints, without_connection
from perfcheck.agent.requests import Attach, Attached, Begin, Ended, Images, WantedImages
from perfcheck.errors import PerfcheckError, Unavailable
from perfcheck.model.budget import Spending
from perfcheck.model.observation import Observation
from perfcheck.system.netns import OWN_NETNS, inode_of

if TYPE_CHECKING:
    from perfcheck.collect import Layers, Mode
    from perfcheck.collect.session import Core
    from perfcheck.model.seams import Collector

MODULES: Final = ("numpy", "pyroute2")
_MODES: Final = ("summary", "detail", "both")


class Measuring:
    """The collectors that are attached, and the trial that they measure.

    `unmeasured` is the connection that the agent itself is reached by, which is none of the scenario's.
    """

    def __init__(self, unmeasured: Endpoints | None) -> None:
        """Attach nothing yet."""
        self._cleanup = ExitStack()
        self._unmeasured = unmeasured
        self._core: Core | None = None

    def wanted(self, request: WantedImages) -> Images:
        """Return the names of the compiled programs that are wanted and not here, and what they are made of."""
        from perfcheck.collect import declared
        from perfcheck.ebpf import cache

        mode = _mode(request.mode)
        layers = "all" if request.layers is None else request.layers
        groups = [*declared.texts(layers, mode, events=request.events)]
        if declared.ROUTE_TIMES.serves(layers, mode):
            groups.append(declared.TIMES_TEXT)
        try:
            places = {cache.place_of(group): tuple(group) for group in groups}
        except Unavailable:
            return Images()  # no BTF: each collector says so itself
        return Images(files={path.name: group for path, group in places.items() if not path.exists()})

    def keep(self, images: Images, *, all_of_them: bool) -> None:
        """Keep compiled programs where collectors look for them; with all of them no compiler is needed."""
        from perfcheck.ebpf import cache

        for name, text in images.texts.items():
            cache.keep(name, text)
        if all_of_them:
            cache.need_no_compiler()

    def attach(self, request: Attach) -> Attached:
        """Attach the collectors of these layers; what one of them lacks is told under its name."""
        self.detach()
        mode, layers = _mode(request.mode), "all" if request.layers is None else request.layers
        if not _any_serves(layers, mode):
            return Attached(names=(), unavailable={})
        require_modules()
        from perfcheck.collect import collectors, prepare
        from perfcheck.collect.session import Core

        wanted = collectors(layers, mode, events=request.events)
        if request.bpf:
            prepare(layers, mode, events=request.events)
        else:
            wanted = tuple(_without_bpf(wanted))
        attached, unavailable = [], {}
        for collector in wanted:
            try:
                collector.check()
                collector.open()
            except Unavailable as lacking:
                unavailable[collector.name] = str(lacking)
                continue
            self._cleanup.callback(collector.close)
            attached.append(collector)
        self._core = Core(attached, request.budget)
        return Attached(names=tuple(one.name for one in attached), unavailable=unavailable)

    def begin(self, request: Begin) -> None:
        """Begin a trial: the machine's own network namespace is the host."""
        scope = replace(
            request.scope,
            namespaces={request.host: inode_of(OWN_NETNS)},
            netns_paths={request.host: "/proc/self/ns/net"},
        )
        if self._core is not None:
            self._core.begin(scope)

    def end(self) -> Ended:
        """End the trial, and return what was seen."""
        core = self._core
        if core is None:
            return Ended(observations=(), by_phase={}, spending=Spending())
        seen = core.end()
        by_phase: Mapping[str, tuple[Observation, ...]] = core.by_phase
        return Ended(
            observations=tuple(map(self._without_own, seen)),
            by_phase={name: tuple(map(self._without_own, each)) for name, each in by_phase.items()},
            spending=core.spending,
        )

    def abandon(self) -> None:
        """End a trial that failed."""
        if self._core is not None:
            self._core.abandon()

    def detach(self) -> None:
        """Detach everything; safe to call twice."""
        self._core = None
        self._cleanup.close()
        self._cleanup = ExitStack()

    def _without_own(self, seen: Observation) -> Observation:
        """Leave out the connection that the agent is reached by."""
        return without_connection(seen, self._unmeasured)


def _any_serves(layers: Layers, mode: Mode) -> bool:
    """Whether there is anything to attach: what the application itself reports needs no collector."""
    from perfcheck.collect import declared

    return any(one.layers and one.serves(layers, mode) for one in declared.ALL)


def _without_bpf(wanted: Iterable[Collector]) -> Iterator[Collector]:
    """Yield the collectors that need no BPF; sock_diag's then has all that it can tell."""
    from perfcheck.collect import kinds
    from perfcheck.collect.sockdiag.collector import SockdiagCollector

    without = {one.declared.name for one in kinds() if not one.declared.group}
    for one in wanted:
        if one.name in without:
            yield SockdiagCollector() if isinstance(one, SockdiagCollector) else one


def require_modules() -> None:
    """Raise Unavailable where this machine's Python lacks what collectors need."""
    for name in MODULES:
        try:
            __import__(name)
        except ImportError as missing:
            raise Unavailable(
                "collectors there", f"Python has no {name} ({missing})",
                f"apt-get install python3-{name} on that machine, or name a Python that has it: hosts.NAME.python",
            ) from None  # fmt: skip


def _mode(name: str) -> Mode:
    if name not in _MODES:
        raise PerfcheckError(f"unknown mode {name!r}")
    return cast("Mode", name)
