"""Relief inside hosts that are set up: it finds rules and queue disciplines as they are, whatever command made them.

All of it happens in network namespaces of a lab that is taken down afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from perfcheck.confirm.intervention import Step
from perfcheck.confirm.rules import KINDS, Rule, chain_of, rule_changes, unread_extensions
from perfcheck.errors import LabError
from perfcheck.model.confirmation import ChangeRecord
from perfcheck.model.seams import Host
from perfcheck.system.processes import name_of, pids_inside

RATED_QDISCS: Final = ("tbf", "htb", "hfsc", "cake")
"""Queue disciplines that enforce a rate; one is taken away with all that hangs below it."""
OPAQUE_QDISCS: Final = ("clsact", "ingress", "netem")
LIMITED_QDISCS: Final = ("tbf", "pfifo", "bfifo", "fq_codel", "codel", "sfq", "red")
CLASSFUL_QDISCS: Final = ("htb", "hfsc")
_LEAST_PACKETS: Final = 3
"""A shortened queue holds so many frames."""
_FRAME_BYTES: Final = 1514
_LEAST_TBF_BYTES: Final = 2_000
"""What waits beside the burst in a shortened tbf."""
_TIMEOUT_S: Final = 10.0
_LOCKED: Final = ("cwnd", "ssthresh")
"""Metrics of a route that say something only where they are locked."""


@dataclass(slots=True)
class HostRelief:
    """Takes the steps of an intervention in hosts; `changes` says what was found and changed.

    `opaque` names what may act on packets and is not read: filters of tc, netem, XDP, extensions and
    legacy tables of iptables.
    """

    steps: Sequence[Step]
    most_queue_bytes: int | None = None
    changes: list[ChangeRecord] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)

    def act(self, hosts: Mapping[str, Host]) -> None:
        """Take all steps in all hosts; LabError where the kernel refuses one."""
        self.changes.clear()
        self.opaque.clear()
        for step in self.steps:
            for name, host in hosts.items():
                if step.look is not None:
                    self._look(name, host) if step.look == "hosts" else self._look_for_programs(name, host)
                elif step.rules is not None:
                    self._look(name, host)
                    self._change_rules(name, host, step.rules)
                elif step.qdisc is not None:
                    self._change_qdiscs(name, host, step)
                elif step.routes is not None:
                    self._change_routes(name, host, step)

    def _note(self, host: str, what: str, before: str, after: str) -> None:
        self.changes.append(ChangeRecord(where=f"{host}: {what}", before=before, after=after))

    def _change_rules(self, name: str, host: Host, kind: str) -> None:
        listed = _json(host, ["nft", "-j", "list", "ruleset"]).get("nftables", ())
        for change in rule_changes(listed, kind):
            where, handle = chain_of(change.rule), change.rule["handle"]
            if change.instead is None:
                _run(host, ["nft", "delete", "rule", *where, "handle", str(handle)])
            else:
                _run(host, ["nft", "-j", json.dumps(_replacing(change.rule, change.instead))])
            after = "deleted" if change.instead is None else "accepts all"
            self._note(name, f"nft {' '.join(where)}", KINDS[kind], after)
        if unread := unread_extensions(listed):
            self.opaque.append(f"{name} has rules with extensions of iptables ({', '.join(unread)})")

    def _look(self, name: str, host: Host) -> None:
        for qdisc in _qdiscs(host):
            if qdisc.get("kind") in OPAQUE_QDISCS:
                self.opaque.append(f"{name} has {qdisc.get('kind')} on {qdisc.get('dev')}, which is not looked into")
        listed = _json(host, ["ip", "-j", "link", "show"])
        for link in listed if isinstance(listed, list) else ():
            if "xdp" in link:
                self.opaque.append(f"{name} has a program (XDP) on {link.get('ifname')}, which is not looked into")
        legacy = host.run(["cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"], timeout_s=_TIMEOUT_S)
        if tables := legacy.stdout.decode("utf-8", "replace").split():
            self.opaque.append(f"{name} has tables of iptables-legacy ({', '.join(dict.fromkeys(tables))})")

    def _look_for_programs(self, name: str, host: Host) -> None:
        """Name what a host's `setup` left running: nobody knows what it sends, or does to packets."""
        left = dict.fromkeys(found for pid in pids_inside(host.netns_inode) if (found := name_of(pid)) is not None)
        if left:
            self.opaque.append(f"{name} has programs that its setup left running ({', '.join(left)})")

    def _change_qdiscs(self, name: str, host: Host, step: Step) -> None:
        gone = set()
        for qdisc in sorted(_qdiscs(host), key=lambda each: not each.get("root")):
            dev, kind = str(qdisc.get("dev")), str(qdisc.get("kind"))
            if step.qdisc == "rate" and kind in RATED_QDISCS and dev not in gone:
                where = ["root"] if qdisc.get("root") else ["parent", str(qdisc.get("parent"))]
                _run(host, ["tc", "qdisc", "del", "dev", dev, *where])
                self._note(name, f"tc qdisc {dev} {kind}", "enforces a rate", "deleted")
                if qdisc.get("root"):
                    gone.add(dev)  # and with it what hung below it
            elif step.qdisc == "limit" and step.times is not None and kind in LIMITED_QDISCS:
                changed = scaled_qdisc(qdisc, step.times, self._most(step))
                if changed is not None:
                    _run(host, ["tc", "qdisc", "change", *changed.words])
                    self._note(name, f"tc qdisc {dev} {kind} limit", str(changed.before), str(changed.after))
            elif step.qdisc == "limit" and step.times is not None and kind in CLASSFUL_QDISCS:
                self._give_queues(name, host, qdisc, step)

    def _most(self, step: Step) -> int | None:
        return None if step.most_bdp is None else self.most_queue_bytes

    def _give_queues(self, name: str, host: Host, qdisc: Mapping[str, Any], step: Step) -> None:
        """Give classes a queue of their own where theirs is the kernel's: as long as the interface's (txqueuelen)."""
        dev = str(qdisc.get("dev"))
        listed = _json(host, ["ip", "-j", "link", "show", "dev", dev])
        before = next((int(link["txqlen"]) for link in listed if link.get("txqlen")), 0)
        classes = _run(host, ["tc", "class", "show", "dev", dev]).decode("utf-8", "replace")
        for handle in queueless_classes(classes) if before else ():
            after = _limit(before, float(step.times or 1), self._most(step), _FRAME_BYTES)
            _run(host, ["tc", "qdisc", "add", "dev", dev, "parent", handle, "pfifo", "limit", str(after)])
            self._note(name, f"tc class {dev} {handle} queue", f"{before} packets", f"{after} packets")

    def _change_routes(self, name: str, host: Host, step: Step) -> None:
        for version in ("-4", "-6"):
            listed = _json(host, ["ip", "-j", version, "route", "show"])
            for route in listed if isinstance(listed, list) else ():
                words = base_words(route)
                metrics = _metrics_of(route)
                if words is None or (step.routes == "window" and "window" not in metrics):
                    continue
                added = without_window(metrics) if step.routes == "window" else with_window(metrics, int(step.to or 10))
                _run(host, ["ip", version, "route", "replace", *words, *added])
                before = ", ".join(f"{key} {value}" for key, value in metrics.items()) or "not set"
                after = "not set" if step.routes == "window" else str(step.to)
                self._note(name, f"route {route['dst']} {step.routes}", before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedQdisc:
    """The words of `tc qdisc change` after those three, and the limit as it was and becomes."""

    words: tuple[str, ...]
    before: int
    after: int


def scaled_qdisc(qdisc: Mapping[str, Any], times: float, most_bytes: int | None = None) -> ChangedQdisc | None:
    """Return how a queue discipline gets a limit so many times as large, and holds no more than `most_bytes`.

    None where it tells no limit.
    """
    options = qdisc.get("options") or {}
    kind = str(qdisc["kind"])
    extra: list[str] = []
    if kind == "tbf":
        rate, burst = int(options.get("rate", 0)), int(options.get("burst", 0))
        waiting = (
            int(options["limit"]) - burst if "limit" in options else round(rate * int(options.get("lat", 0)) / 1e6)
        )
        least = min(waiting, _LEAST_TBF_BYTES)
        wanted = waiting * times if most_bytes is None else min(waiting * times, most_bytes)
        before, after = waiting + burst, max(round(wanted), least) + burst
        extra = ["rate", f"{rate * 8}bit", "burst", str(burst)]
    elif isinstance(options.get("limit"), int):
        before = int(options["limit"])
        after = _limit(before, times, most_bytes, 1 if kind in ("bfifo", "red") else _FRAME_BYTES)
    else:
        return None
    where = ["root"] if qdisc.get("root") else ["parent", str(qdisc.get("parent"))]
    handle = [] if qdisc.get("handle") in (None, "0:") else ["handle", str(qdisc["handle"])]
    words = ("dev", str(qdisc["dev"]), *where, *handle, kind, *extra, "limit", str(after))
    return ChangedQdisc(words=words, before=before, after=after)


def _limit(before: int, times: float, most_bytes: int | None, unit_bytes: int) -> int:
    """Return a limit in frames (`unit_bytes` is a frame's) or bytes (1): a few frames at least, where it had those."""
    wanted = before * times if most_bytes is None else min(before * times, most_bytes / unit_bytes)
    return max(round(wanted), min(before, _LEAST_PACKETS * _FRAME_BYTES // unit_bytes))


def queueless_classes(listed: str) -> tuple[str, ...]:
    """Return the handles of the classes that `tc class show` tells no queue of and no classes below."""
    words = [line.split() for line in listed.splitlines() if line.startswith("class ")]
    parents = {line[line.index("parent") + 1] for line in words if "parent" in line[:-1]}
    return tuple(line[2] for line in words if "leaf" not in line and line[2] not in parents)


def base_words(route: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the words of `ip route replace` for a route without its metrics.

    None for a route that leads nowhere else, such as one of link-local addresses.
    """
    target = str(route.get("dst", ""))
    if not target or target.startswith(("fe80", "ff00", "multicast")) or route.get("type", "unicast") != "unicast":
        return None
    words = [target]
    for key, word in (("gateway", "via"), ("dev", "dev"), ("protocol", "proto"), ("scope", "scope"),
                      ("prefsrc", "src"), ("metric", "metric")):  # fmt: skip
        if key in route:
            words += [word, str(route[key])]
    return tuple(words)


def with_window(metrics: Mapping[str, Any], segments: int) -> tuple[str, ...]:
    """Return the words of metrics with this initial window, without the limits that a route had."""
    congestion = metrics.get("congestion")
    own = ("congctl", str(congestion)) if congestion else ()
    return (*own, "initcwnd", str(segments), "initrwnd", str(segments))


def without_window(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of metrics with all but the receive window as they are; `ip` does not tell which are locked."""
    words: list[str] = []
    for key, value in metrics.items():
        if key == "congestion":
            words += ["congctl", str(value)]
        elif key in _LOCKED:
            words += [key, "lock", str(value)]
        elif key != "window":
            words += [key, str(value)]
    return tuple(words)


def _metrics_of(route: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for each in route.get("metrics", ()) for key, value in each.items()}


def _qdiscs(host: Host) -> list[Mapping[str, Any]]:
    listed = _json(host, ["tc", "-j", "qdisc", "show"])
    return [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []


def _replacing(rule: Rule, expressions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the command, as `nft -j` reads it, that puts other expressions in a rule's place."""
    return {"nftables": [{"replace": {"rule": {**rule, "expr": list(expressions)}}}]}


def _json(host: Host, argv: Sequence[str]) -> Any:
    """Return the JSON that a command prints; LabError where it prints none."""
    printed = _run(host, argv)
    try:
        return json.loads(printed) if printed.strip() else {}
    except ValueError as wrong:
        raise LabError(f"host {host.name}: `{' '.join(argv)}` printed no JSON: {wrong}") from None


def _run(host: Host, argv: Sequence[str]) -> bytes:
    done = host.run(argv, timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise LabError(f"host {host.name}: `{' '.join(argv)}`: {said[0] if said else f'status {done.returncode}'}")
    return done.stdout
