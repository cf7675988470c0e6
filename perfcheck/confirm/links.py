"""One link with one of its impairments taken away or scaled, on the link itself and in both directions' blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from perfcheck.model.impairments import Change, Impairments, Jitter
from perfcheck.model.link import LinkSpec, link_problem
from perfcheck.model.quantities import Loss, Queue, QueueSize
from perfcheck.model.units import format_value

LEAST_PACKETS: Final = 3
"""A shortened queue holds so many: one that takes no packet in is a fault of its own."""
FRAME_BYTES: Final = 1514
FIELDS: Final = {
    "loss": "loss", "corrupt": "corrupt_pct", "policer": "policer", "ecn": "ecn", "jitter": "jitter",
    "reorder": "reorder_pct", "queue": "queue", "slowdown": "rate_bps", "delay": "delay_ns",
}  # fmt: skip
"""The file's keys, and the names that their values have here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLink:
    """The link, what was changed (key, before, after), and why no link can be like that, or None."""

    link: LinkSpec
    changes: tuple[tuple[str, str, str], ...]
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """The key, how many times as large it becomes (None: it goes), and the most bytes of a queue."""

    key: str
    times: float | None
    most_bytes: int | None = None


def changed_link(link: LinkSpec, key: str, times: float | None, most_bytes: int | None = None) -> ChangedLink:
    """Return the link without an impairment, or with it so many times as large; a queue holds `most_bytes` at most."""
    changes: list[tuple[str, str, str]] = []
    wanted = _Change(key=key, times=times, most_bytes=most_bytes)
    update: dict[str, object] = _changed(link, wanted, "", changes)
    for name in ("forward", "reverse"):
        block: Impairments | None = getattr(link, name)
        if block is not None:
            update[name] = block.model_copy(update=_changed(block, wanted, f"{name}.", changes))
    if key == "delay":
        update = _with_queues_kept(link, update)
    copied = link.model_copy(update=update)
    return ChangedLink(link=copied, changes=tuple(changes), problem=link_problem(copied) if changes else None)


def _with_queues_kept(link: LinkSpec, update: dict[str, object]) -> dict[str, object]:
    """Return the update with queues in BDPs as long in bytes as they were: only the delay is to be another."""
    kept = dict(update)
    for name in ("forward", "reverse"):
        block = kept.get(name)
        if isinstance(block, Impairments) and block.queue is not None:
            kept[name] = block.model_copy(update={"queue": _in_bytes(link, block.queue)})
    if link.queue is not None:
        kept["queue"] = _in_bytes(link, link.queue)
    return kept


def _in_bytes(link: LinkSpec, queue: Queue) -> Queue:
    sizes = [each.queue_bytes for each in link.directions if each.queue == queue and each.queue_bytes is not None]
    if queue.size.bdp is None or not sizes:
        return queue
    return queue.model_copy(update={"size": QueueSize(size_bytes=max(sizes))})


def _changed(
    block: Impairments, wanted: _Change, prefix: str, changes: list[tuple[str, str, str]]
) -> dict[str, object]:  # fmt: skip
    """Return the new values of one block, and note each that is another."""
    key, field = wanted.key, FIELDS[wanted.key]
    update: dict[str, object] = {}
    # The rate that a link begins with is the path's own.
    before = getattr(block, field) if key != "slowdown" else None
    least = block.jitter.least_delay_ns if key == "delay" and block.jitter is not None else 0
    after = _new(before, wanted, least)
    if after != before and _text(before, key) != _text(after, key):
        update[field] = after
        changes.append((f"{prefix}{key}", _text(before, key), _text(after, key)))
    if key == "ecn" and block.ecn and block.loss is not None:
        # The marks came in place of these losses: without marks they would be lost.
        update["loss"] = None
        changes.append((f"{prefix}loss", _text(block.loss, key), "none"))
    if key == "jitter" and block.schedule and _goes_back(block.delay_ns or 0, block.schedule):
        steps = [step.model_copy(update={"delay_ns": None}) for step in block.schedule]
        update["schedule"] = tuple(step for step in steps if step.changed) or None
        changes.append((f"{prefix}schedule[].delay", "changes", "none"))
    if block.schedule and field in Change.model_fields:
        steps = [_step(step, field, wanted, least) for step in block.schedule]
        if steps != list(block.schedule):
            update["schedule"] = tuple(step for step in steps if step.changed) or None
            changes.append(
                (f"{prefix}schedule[].{key}", "changes", "none" if wanted.times is None else f"x {wanted.times:g}")
            )
    return update


def _step(step: Change, field: str, wanted: _Change, least: int) -> Change:
    return step.model_copy(update={field: _new(getattr(step, field), wanted, least)})


def _new(value: Any, wanted: _Change, least: int) -> Any:
    """Return a value so many times as large; a delay stays as long as it varies: that is another limit."""
    if value is None or wanted.times is None:
        return None
    if isinstance(value, Queue):
        return value.model_copy(update={"size": _scaled(value.size, wanted.times, wanted.most_bytes)})
    return max(round(value * wanted.times), min(least, value))


def _goes_back(before_ns: int, schedule: Sequence[Change]) -> bool:
    """Whether a delay rises and falls again, or falls and rises: it varies, where one that only changed is another."""
    delays = [before_ns, *(step.delay_ns for step in schedule if step.delay_ns is not None)]
    moves = [later - earlier for earlier, later in pairwise(delays)]
    return any(move > 0 for move in moves) and any(move < 0 for move in moves)


def _scaled(size: QueueSize, times: float, most_bytes: int | None) -> QueueSize:
    if size.packets is not None:
        most = size.packets * times if most_bytes is None else min(size.packets * times, most_bytes / FRAME_BYTES)
        return QueueSize(packets=max(round(most), min(size.packets, LEAST_PACKETS)))
    if size.size_bytes is not None:
        most = size.size_bytes * times if most_bytes is None else min(size.size_bytes * times, most_bytes)
        return QueueSize(size_bytes=max(round(most), min(size.size_bytes, LEAST_PACKETS * FRAME_BYTES)))
    assert size.bdp is not None  # noqa: S101 - the validator saw to it
    return QueueSize(bdp=size.bdp * times)


def _text(value: object, key: str) -> str:
    """Return a value as the file could have it; what changes nothing is `none`."""
    if not value:
        return "none"
    if isinstance(value, Queue):
        size = value.size
        if size.bdp is not None:
            return f"{size.bdp:g}bdp"
        return f"{size.packets}p" if size.packets is not None else format_value(float(size.size_bytes or 0), "bytes")
    if isinstance(value, Loss):
        return f"{value.mean_pct:g}%" if value.mean_pct else "none"
    if isinstance(value, Jitter):
        return format_value(value.spread_ns, "ns") if value.spread_ns else "none"
    if isinstance(value, bool):
        return "true"
    if isinstance(value, int | float):
        return format_value(value, {"delay": "ns"}.get(key, "pct"))
    return "set"
