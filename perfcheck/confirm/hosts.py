"""Relief inside hosts that are set up: it finds rules and queue disciplines as they are, whatever command made them.

All of it happens in network namespaces of a lab that is taken down afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from perfcheck.confirm.intervention import Step
from perfcheck.errors import LabError
from perfcheck.model.confirmation import ChangeRecord
from perfcheck.model.seams import Host

RATED_QDISCS: Final = ("tbf", "htb", "hfsc", "cake")
"""Queue disciplines that enforce a rate; one at the root is taken away as a whole."""
LIMITED_QDISCS: Final = ("tbf", "pfifo", "bfifo", "fq_codel", "codel", "sfq", "red")
_LEAST_PACKETS: Final = 3
"""A shortened queue holds so many frames."""
_FRAME_BYTES: Final = 1514
_TIMEOUT_S: Final = 10.0
_LOCKED: Final = ("cwnd", "ssthresh")
"""Metrics of a route that say something only where they are locked."""
_RULE_KINDS: Final = {
    "random": "random drops",
    "limit": "a rate limit",
    "syn": "drops of SYN",
    "connections": "ct count",
    "reset": "reject with tcp reset",
}

Rule = Mapping[str, Any]


@dataclass(slots=True)
class HostRelief:
    """Takes the steps of an intervention in hosts; `changes` says what was found and changed.

    `opaque` names what may act on packets and is not read: filters of tc, netem, and extensions of iptables.
    """

    steps: Sequence[Step]
    changes: list[ChangeRecord] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)

    def act(self, hosts: Mapping[str, Host]) -> None:
        """Take all steps in all hosts; LabError where the kernel refuses one."""
        self.changes.clear()
        self.opaque.clear()
        for step in self.steps:
            for name, host in hosts.items():
                if step.look is not None:
                    self._look(name, host)
                elif step.rules is not None:
                    self._look(name, host)
                    self._delete_rules(name, host, step.rules)
                elif step.qdisc is not None:
                    self._change_qdiscs(name, host, step)
                elif step.routes is not None:
                    self._change_routes(name, host, step)

    def _note(self, host: str, what: str, before: str, after: str) -> None:
        self.changes.append(ChangeRecord(where=f"{host}: {what}", before=before, after=after))

    def _delete_rules(self, name: str, host: Host, kind: str) -> None:
        listed = _json(host, ["nft", "-j", "list", "ruleset"])
        rules = [entry["rule"] for entry in listed.get("nftables", ()) if "rule" in entry]
        for rule in doomed(rules, kind):
            where = [rule["family"], rule["table"], rule["chain"]]
            _run(host, ["nft", "delete", "rule", *where, "handle", str(rule["handle"])])
            self._note(name, f"nft {' '.join(where)}", _RULE_KINDS[kind], "deleted")
        if any("xt" in expression for rule in rules for expression in rule.get("expr", ())):
            self.opaque.append(f"{name} has rules of iptables extensions")

    def _look(self, name: str, host: Host) -> None:
        for qdisc in _qdiscs(host):
            if qdisc.get("kind") in ("clsact", "ingress", "netem"):
                self.opaque.append(f"{name} has {qdisc.get('kind')} on {qdisc.get('dev')}, which is not looked into")

    def _change_qdiscs(self, name: str, host: Host, step: Step) -> None:
        for qdisc in _qdiscs(host):
            dev, kind = str(qdisc.get("dev")), str(qdisc.get("kind"))
            if step.qdisc == "rate" and kind in RATED_QDISCS and qdisc.get("root"):
                _run(host, ["tc", "qdisc", "del", "dev", dev, "root"])
                self._note(name, f"tc qdisc {dev} {kind}", "enforces a rate", "deleted")
            elif step.qdisc == "limit" and step.times is not None and kind in LIMITED_QDISCS:
                changed = scaled_qdisc(qdisc, step.times)
                if changed is not None:
                    _run(host, ["tc", "qdisc", "change", *changed.words])
                    self._note(name, f"tc qdisc {dev} {kind} limit", str(changed.before), str(changed.after))

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


def doomed(rules: Sequence[Rule], kind: str) -> list[Rule]:
    """Return the rules of a kind, and what drops the rest behind a rule that accepts up to a rate."""
    found: list[Rule] = []
    for index, rule in enumerate(rules):
        if not _is(rule, kind):
            continue
        found.append(rule)
        if kind == "limit" and not _ends_packets(rule):
            found += [other for other in rules[index + 1 :] if _chain(other) == _chain(rule) and _only_drops(other)]
    return list({(_chain(rule), rule["handle"]): rule for rule in found}.values())


def _is(rule: Rule, kind: str) -> bool:
    expressions = rule.get("expr", ())
    keys = set(_keys(expressions))
    syn = any("flags" in str(each) and "syn" in str(each) for each in expressions if "match" in each)
    match kind:
        case "random":
            return "numgen" in keys and _ends_packets(rule) and not syn
        case "limit":
            return "limit" in keys and not syn and (_ends_packets(rule) or "accept" in keys)
        case "syn":
            return syn and _ends_packets(rule) and "ct count" not in keys
        case "connections":
            return "ct count" in keys and _ends_packets(rule)
        case _:
            return any(isinstance(each.get("reject"), dict) and each["reject"].get("type") == "tcp reset"
                       for each in expressions) and "ct count" not in keys  # fmt: skip


def _ends_packets(rule: Rule) -> bool:
    return any("drop" in each or "reject" in each for each in rule.get("expr", ()))


def _only_drops(rule: Rule) -> bool:
    return _ends_packets(rule) and "numgen" not in set(_keys(rule.get("expr", ())))


def _chain(rule: Rule) -> tuple[str, str, str]:
    return rule["family"], rule["table"], rule["chain"]


def _keys(value: object) -> Iterator[str]:
    """Yield every key of a nested value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys(inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedQdisc:
    """The words of `tc qdisc change` after those three, and the limit as it was and becomes."""

    words: tuple[str, ...]
    before: int
    after: int


def scaled_qdisc(qdisc: Mapping[str, Any], times: float) -> ChangedQdisc | None:
    """Return how a queue discipline gets a limit so many times as large; None where it tells none."""
    options = qdisc.get("options") or {}
    kind = str(qdisc["kind"])
    extra: list[str] = []
    if kind == "tbf":
        rate, burst = int(options.get("rate", 0)), int(options.get("burst", 0))
        waiting = (
            int(options["limit"]) - burst if "limit" in options else round(rate * int(options.get("lat", 0)) / 1e6)
        )
        before, after = waiting + burst, max(round(waiting * times), 2_000) + burst
        extra = ["rate", f"{rate * 8}bit", "burst", str(burst)]
    elif isinstance(options.get("limit"), int):
        before = int(options["limit"])
        least = _LEAST_PACKETS * (_FRAME_BYTES if kind in ("bfifo", "red") else 1)
        after = max(round(before * times), min(before, least))
    else:
        return None
    where = ["root"] if qdisc.get("root") else ["parent", str(qdisc.get("parent"))]
    handle = [] if qdisc.get("handle") in (None, "0:") else ["handle", str(qdisc["handle"])]
    words = ("dev", str(qdisc["dev"]), *where, *handle, kind, *extra, "limit", str(after))
    return ChangedQdisc(words=words, before=before, after=after)


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
