"""Checks what `measure: {mode: cost}` can measure: plain hosts and links, the load alone, and metrics of cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue.cost import is_cost
from perfcheck.model.impairments import Impairments
from perfcheck.model.link import DIRECTIONS
from perfcheck.model.load_metrics import any_has, kinds_with
from perfcheck.model.subject import is_diagnosis
from perfcheck.model.traffic import GENERATORS
from perfcheck.scenario.tree import Document, Found, Scalar
from perfcheck.system.place import Loc

COST: Final = "cost"
"""The mode."""
_IMPAIRMENTS: Final = (*(field.alias or name for name, field in Impairments.model_fields.items()), *DIRECTIONS)
_BLOCKS: Final = ("expect", "tolerance")


def is_cost_metric(key: str) -> bool:
    """Whether a key of `expect` or `tolerance` asks for a metric of cost, whatever its subject."""
    return is_cost(_metric(key))


def check_cost(document: Document) -> Iterator[Problem]:
    """Yield what mode cost cannot measure; in any other mode, each metric of cost that is asked for."""
    if document.text("measure", "mode") != COST:
        for block in _BLOCKS:
            for name in filter(is_cost_metric, document.table(block)):
                message = "is measured in guests of the kernel lab alone: set measure: {mode: cost}"
                yield _at_key(document, (block, name), message)
        return
    yield from _other_traffic(document)
    yield from _impaired(document)
    yield from _not_used(document)
    yield from _other_metrics(document)


def _other_traffic(document: Document) -> Iterator[Problem]:
    for index in range(len(document.listing("traffic"))):
        loc: Loc = ("traffic", index)
        for generator in document.table(*loc):
            if generator in GENERATORS and generator != "load":
                message = f"mode: cost measures traffic by load alone, not by {generator}; write this entry as load"
                yield _at_key(document, (*loc, generator), message)
        background = document.get(*loc, "load", "background")
        if isinstance(background, Scalar) and background.value is True:
            message = "mode: cost counts all that a guest does, so it has no background traffic; remove it"
            yield _at_key(document, (*loc, "load", "background"), message)


def _impaired(document: Document) -> Iterator[Problem]:
    """Find what a plain link does not have: what an emulator does would be counted as the kernel's path."""
    for index in range(len(document.listing("links"))):
        loc: Loc = ("links", index)
        for key in document.table(*loc):
            if key in _IMPAIRMENTS:
                message = f"mode: cost measures the path of plain links; remove {key}, or use it in another scenario"
                yield _at_key(document, (*loc, key), message)
        if document.text(*loc, "emulator") not in (None, "auto", "none"):
            yield _at_key(document, (*loc, "emulator"), "mode: cost measures the path of plain links; remove emulator")


def _not_used(document: Document) -> Iterator[Problem]:
    if document.duration_ns("warmup"):
        message = "mode: cost runs each load once to warm up before it counts; remove warmup"
        yield _at_key(document, ("warmup",), message)
    if document.table("phases"):
        yield _at_key(document, ("phases",), "mode: cost counts instructions of whole runs; remove phases")
    for key in document.table("measure"):
        if key != "mode":
            message = f"mode: cost attaches no collector, so {key} has no meaning; remove it"
            yield _at_key(document, ("measure", key), message)
    for name in document.table("hosts"):
        loc: Loc = ("hosts", name, "cpus")
        if document.get(*loc) is not None:
            yield _at_key(document, loc, "a guest of mode: cost has one CPU; remove cpus")


def _other_metrics(document: Document) -> Iterator[Problem]:
    kinds = _kinds(document)
    for block in _BLOCKS:
        for name in document.table(block):
            metric = _metric(name)
            if is_cost(metric) and kinds and not any_has(kinds, metric):
                message = (
                    f"needs a load of kind {' or '.join(kinds_with(metric))}, but this file has {' and '.join(kinds)}"
                )
                yield _at_key(document, (block, name), message)
            if is_diagnosis(name.partition("/")[0]):
                yield _at_key(document, (block, name), "mode: cost makes no diagnosis; expect it of another scenario")
            elif name in CATALOGUE and not is_cost_metric(name):
                message = "mode: cost measures only cpu.insns_per_*; expect it of another scenario"
                yield _at_key(document, (block, name), message)


def _metric(key: str) -> str:
    """Return the metric of a key, without subject and phase."""
    return key.partition("@")[0].partition("/")[0]


def _kinds(document: Document) -> tuple[str, ...]:
    """Return the kinds of the file's loads, each once."""
    texts = (document.text("traffic", index, "load", "kind") for index in range(len(document.listing("traffic"))))
    return tuple(dict.fromkeys(text for text in texts if text is not None))


def _at_key(document: Document, loc: Loc, message: str) -> Problem:
    found: Found = document.find(loc)
    return document.problem(found.key, found.path, message)
