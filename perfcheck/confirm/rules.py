"""Rules of nftables by what they do to packets, as `nft -j list ruleset` tells them, whatever command made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Rule = Mapping[str, Any]
Chain = tuple[str, str, str]
"""Family, table and name."""

KINDS: Final = {
    "random": "random drops",
    "limit": "a rate limit",
    "syn": "drops of packets that open connections",
    "connections": "ct count",
    "reset": "reject with tcp reset",
    "large": "drops of large packets, or of messages that they are too large",
    "spread": "packets of one flow put into several classes or ways",
}
_RANDOM_XT: Final = frozenset({"statistic"})
_LIMIT_XT: Final = frozenset({"limit", "hashlimit"})
_COUNT_XT: Final = frozenset({"connlimit"})
_ENDS_XT: Final = frozenset({"DROP", "REJECT"})
"""Names of iptables extensions, which nft tells without their arguments."""
_PLAIN_XT: Final = _ENDS_XT | {
    "addrtype", "comment", "conntrack", "icmp", "icmp6", "mac", "multiport", "owner", "pkttype", "state", "tcp", "udp",
    "DNAT", "LOG", "MASQUERADE", "NFLOG", "REDIRECT", "SNAT",
}  # fmt: skip
"""Extensions that make no limit by themselves."""
_CLASS_KEYS: Final = ("priority", "mark", "dscp")
"""What a rule writes into a packet that queue disciplines and routing rules choose by."""
_LENGTHS: Final = ("length", "totlen")
_TOO_LARGE: Final = frozenset({"destination-unreachable", "packet-too-big", "frag-needed"})
_DEEPEST: Final = 16
"""Chains that jump to chains: the kernel allows so many levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """One rule that makes a limit; `instead` are its expressions without the limit, None: it is deleted."""

    rule: Rule
    instead: tuple[Mapping[str, Any], ...] | None


def rule_changes(listed: Sequence[Mapping[str, Any]], kind: str) -> list[RuleChange]:
    """Return which rules of a listing make a limit of this kind, and what becomes of them.

    A rule that drops is deleted. One that accepts only a share or a rate, so that the rest is dropped by it or behind
    it, accepts all that it matches otherwise.
    """
    ruleset = _Ruleset(listed)
    found = []
    for rule in ruleset.rules:
        if ruleset.makes(rule, kind):
            found.append(RuleChange(rule=rule, instead=_accepting(rule, kind)))
        elif ruleset.passes_a_part(rule, kind):
            found.append(RuleChange(rule=rule, instead=_without(rule, kind)))
    return found


def unread_extensions(listed: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the extensions of iptables of which nobody can tell what they do to packets, in order of their names."""
    understood = {id(change.rule) for kind in KINDS for change in rule_changes(listed, kind)}
    rules = (entry["rule"] for entry in listed if "rule" in entry)
    return tuple(
        sorted({name for rule in rules if id(rule) not in understood for name in xt_names(rule) - _PLAIN_XT})
    )  # fmt: skip


def chain_of(rule: Rule) -> Chain:
    """Return where a rule stands."""
    return str(rule["family"]), str(rule["table"]), str(rule["chain"])


def xt_names(rule: Rule) -> frozenset[str]:
    """Return the names of the iptables extensions of a rule."""
    found = (each["xt"] for each in rule.get("expr", ()) if isinstance(each.get("xt"), Mapping))
    return frozenset(str(each.get("name")) for each in found)


class _Ruleset:
    """The rules of a host, with what ends packets in its chains."""

    def __init__(self, listed: Sequence[Mapping[str, Any]]) -> None:
        self.rules: list[Rule] = [entry["rule"] for entry in listed if "rule" in entry]
        chains = (entry["chain"] for entry in listed if "chain" in entry)
        self._dropping = {
            (str(each["family"]), str(each["table"]), str(each["name"]))
            for each in chains
            if each.get("policy") == "drop"
        }

    def makes(self, rule: Rule, kind: str) -> bool:
        """Whether the rule makes a limit of this kind by what it does to the packets that it matches."""
        opening, counted = _opens_connections(rule), _counts_connections(rule)
        match kind:
            case "random":
                return _is_random(rule) and not opening and not counted and self._ends(rule)
            case "limit":
                return _is_limited(rule) and not opening and not counted and self._ends(rule)
            case "syn":
                return opening and not counted and self._ends(rule)
            case "connections":
                return counted and (self._ends(rule) or _resets(rule))
            case "large":
                return self._ends(rule) and (_picks_large(rule) or _silences(rule))
            case "reset":
                return _resets(rule) and not counted
            case _:
                return _splits(rule)

    def passes_a_part(self, rule: Rule, kind: str) -> bool:
        """Whether the rule accepts only some of what it would, and what follows in its chain drops the rest."""
        limits = (kind == "random" and _is_random(rule)) or (kind == "limit" and _is_limited(rule))
        if not limits or "accept" not in set(_keys(rule.get("expr", ()))) or xt_names(rule):
            return False
        if _opens_connections(rule):
            return False
        behind = self.rules[self.rules.index(rule) + 1 :]
        return chain_of(rule) in self._dropping or any(
            chain_of(other) == chain_of(rule) and self._ends(other) for other in behind
        )

    def _ends(self, rule: Rule, depth: int = 0) -> bool:
        """Whether packets that the rule matches are dropped, by itself or by a chain that it sends them to."""
        if _resets(rule):
            return False
        if {"drop", "reject"} & set(_keys(rule.get("expr", ()))) or xt_names(rule) & _ENDS_XT:
            return True
        if depth >= _DEEPEST:
            return False
        family, table, _ = chain_of(rule)
        targets = {(family, table, name) for name in _targets(rule.get("expr", ()))}
        return any(self._ends(other, depth + 1) for other in self.rules if chain_of(other) in targets)


def _accepting(rule: Rule, kind: str) -> tuple[Mapping[str, Any], ...] | None:
    """Return what is left of a rule that drops some packets and accepts the others (a `vmap`); None: nothing."""
    if "accept" not in set(_keys(rule.get("expr", ()))):
        return None
    return *_without(rule, kind), {"accept": None}


def _without(rule: Rule, kind: str) -> tuple[Mapping[str, Any], ...]:
    """Return the expressions of a rule but for those that limit."""
    limits = _has_limit if kind == "limit" else _has_random
    return tuple(each for each in rule.get("expr", ()) if not limits(each))


def _is_random(rule: Rule) -> bool:
    return _has_random(rule.get("expr", ())) or bool(xt_names(rule) & _RANDOM_XT)


def _is_limited(rule: Rule) -> bool:
    return _has_limit(rule.get("expr", ())) or bool(xt_names(rule) & _LIMIT_XT)


def _has_random(value: object) -> bool:
    """Whether an expression takes every n-th packet or a random share (`numgen`, `meta random`)."""
    return any(
        "numgen" in each or (isinstance(each.get("meta"), Mapping) and each["meta"].get("key") == "random")
        for each in _mappings(value)
    )


def _has_limit(value: object) -> bool:
    return "limit" in set(_keys(value))


def _counts_connections(rule: Rule) -> bool:
    return "ct count" in set(_keys(rule.get("expr", ()))) or bool(xt_names(rule) & _COUNT_XT)


def _resets(rule: Rule) -> bool:
    rejects = (each["reject"] for each in rule.get("expr", ()) if isinstance(each.get("reject"), Mapping))
    return any(each.get("type") == "tcp reset" for each in rejects)


def _splits(rule: Rule) -> bool:
    """Whether the rule sends some packets of a flow into another class or way than the rest, and drops none."""
    expressions = rule.get("expr", ())
    written = [each["mangle"]["key"] for each in expressions if isinstance(each.get("mangle"), Mapping)]
    classed = any(word in _words(key) for key in written for word in _CLASS_KEYS)
    sent = any("fwd" in each or "dup" in each for each in expressions)
    return (classed or sent) and _is_random(rule)


def _picks_large(rule: Rule) -> bool:
    """Whether the rule matches only packets above a length."""
    for match in _matches(rule):
        if match.get("op") not in (">", ">="):
            continue
        for each in _mappings(match.get("left")):
            named = (each.get("meta"), "key"), (each.get("payload"), "field")
            if any(isinstance(one, Mapping) and one.get(key) in _LENGTHS for one, key in named):
                return True
    return False


def _silences(rule: Rule) -> bool:
    """Whether the rule matches only messages of ICMP that tell a sender that its packets are too large."""
    for match in _matches(rule):
        fields = [each.get("payload") for each in _mappings(match.get("left"))]
        icmp = any(isinstance(one, Mapping) and one.get("protocol") in ("icmp", "icmpv6") for one in fields)
        if icmp and match.get("op") in ("==", "in") and set(_words(match.get("right"))) & _TOO_LARGE:
            return True
    return False


def _matches(rule: Rule) -> Iterator[Mapping[str, Any]]:
    return (each["match"] for each in rule.get("expr", ()) if isinstance(each.get("match"), Mapping))


def _opens_connections(rule: Rule) -> bool:
    """Whether the rule matches only packets that open a connection: SYN, SYN+ACK, or the state `new`."""
    for match in _matches(rule):
        if match.get("op") not in ("==", "in"):
            continue
        left, right = match.get("left"), set(_words(match.get("right")))
        fields = [one.get("payload") for one in _mappings(left)]
        flags = any(isinstance(one, Mapping) and one.get("field") == "flags" for one in fields)
        if flags and "syn" in right:
            return True
        tracked = [one.get("ct") for one in _mappings(left)]
        state = any(isinstance(one, Mapping) and one.get("key") == "state" for one in tracked)
        if state and right <= {"new", "untracked"} and "new" in right:
            return True
    return False


def _targets(value: object) -> Iterator[str]:
    """Yield the chains that expressions jump or go to."""
    for each in _mappings(value):
        for word in ("jump", "goto"):
            target = each.get(word)
            if isinstance(target, Mapping) and "target" in target:
                yield str(target["target"])


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping of a nested value."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _mappings(inner)


def _keys(value: object) -> Iterator[str]:
    """Yield every key of a nested value."""
    for each in _mappings(value):
        yield from map(str, each)


def _words(value: object) -> Iterator[str]:
    """Yield every text of a nested value that is no key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)
