"""Where the path got longer: profiles of the same load on two kernels, compared function by function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from perfcheck.kernels.profile import FunctionCost, Profile

State = Literal["new", "gone", "grown", "shrunk", "unchanged"]

_SAME_CALLS: Final = 0.01
"""By what part the calls of a function that was only renamed may differ."""
_SAME_COST: Final = 0.02
_LEAST_PART: Final = 0.01
"""Of all instructions: below that, two functions that have no words in common are alike by chance."""
_MOST_GROWTH: Final = 2.0
"""By what a function's cost may change where one name has all words of the other one."""
_WORD: Final = re.compile(r"[a-z]+[0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A figure of A and of B, each for a unit of work; `noise` is what it moves by without a change of the kernel."""

    a: float
    b: float
    noise: float

    @property
    def change(self) -> float:
        """Return how much more B has."""
        return self.b - self.a

    @property
    def change_pct(self) -> float | None:
        """Return the change in percent of A; None where A has nothing."""
        return 100 * self.change / self.a if self.a else None

    @property
    def clear(self) -> bool:
        """Whether the change is beyond the noise."""
        return abs(self.change) > self.noise


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionChange:
    """One function of A and B: instructions and calls for a unit of work.

    One that has another name on B is called `OLD -> NEW`.
    `share` is its part of the whole change. Shares add up to 1 with the programs' own; some are negative or above 1
    where functions change in both directions. None where nothing has changed on the whole.
    """

    name: str
    modules: tuple[str, ...]
    instructions: Pair
    calls: Pair
    share: float | None

    @property
    def state(self) -> State:
        """Return what became of the function; what is inlined elsewhere is gone, too."""
        pair = self.instructions
        if pair.change == 0:
            return "unchanged"
        if pair.a == 0:
            return "new"
        if pair.b == 0:
            return "gone"
        return "grown" if pair.change > 0 else "shrunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChange:
    """What changed from A to B for a unit of work; functions from the largest change to the smallest one."""

    total: Pair
    user: Pair
    task: Pair | None
    softirq: Pair | None
    irq: Pair | None
    functions: tuple[FunctionChange, ...]

    def moved(self, least: float = 0.0) -> tuple[FunctionChange, ...]:
        """Return the functions that changed beyond the noise, by at least so many instructions for a unit of work."""
        return tuple(
            each for each in self.functions if each.instructions.clear and abs(each.instructions.change) >= least
        )

    def grown(self, least: float = 0.0) -> tuple[FunctionChange, ...]:
        """Return those of `moved` that cost more in B, new ones included."""
        return tuple(each for each in self.moved(least) if each.instructions.change > 0)


def compare_profiles(a: Sequence[Profile], b: Sequence[Profile], units_a: float, units_b: float) -> ProfileChange:
    """Return the change of a unit of work (byte, segment, request, connection) from A to B, by function.

    Each side may have several profiles, of boots with different layouts: their means are compared, and what they
    differ by on one side is noise. The units of work are those of one profile. ValueError without any.

    A function that only A has and one that only B has are one that was renamed where they are called equally often,
    and either one's name has all words of the other's, or they cost the same and are a good part of the whole. Else
    the copying of data, under a new name, would be the largest growth of all.
    """
    if not a or not b or units_a <= 0 or units_b <= 0:
        raise ValueError(f"got {len(a)} and {len(b)} profiles of {units_a} and {units_b} units of work")

    def pair(figure: Callable[[Profile], float]) -> Pair:
        return _pair([figure(profile) / units_a for profile in a], [figure(profile) / units_b for profile in b])

    total = pair(lambda profile: profile.total)
    in_a = [{function.name: function for function in profile.functions} for profile in a]
    in_b = [{function.name: function for function in profile.functions} for profile in b]
    names = {name for functions in (*in_a, *in_b) for name in functions}
    changes = [
        _change(
            name,
            [functions.get(name) for functions in in_a],
            [functions.get(name) for functions in in_b],
            units_a, units_b, total.change,
        )
        for name in names
    ]  # fmt: skip
    changes = _with_renames(changes, max(total.a, total.b))
    changes.sort(key=lambda each: (-abs(each.instructions.change), each.name))
    known = all(profile.contexts is not None for profile in (*a, *b))
    return ProfileChange(
        total=total,
        user=pair(lambda profile: profile.user),
        task=pair(lambda profile: profile.contexts.task if profile.contexts else 0) if known else None,
        softirq=pair(lambda profile: profile.contexts.softirq if profile.contexts else 0) if known else None,
        irq=pair(lambda profile: profile.contexts.irq if profile.contexts else 0) if known else None,
        functions=tuple(changes),
    )


def _with_renames(changes: Sequence[FunctionChange], whole: float) -> list[FunctionChange]:
    """Return the changes with each function that was renamed as one; those that cost most find their partner first."""
    kept = {each.name: each for each in changes}
    gone = [each for each in changes if each.state == "gone" and each.instructions.a > 0]
    new = [each for each in changes if each.state == "new" and each.instructions.b > 0]
    for one in sorted(gone, key=lambda each: (-each.instructions.a, each.name)):
        other = _nearest(one, (each for each in new if each.name in kept and _is_renamed(one, each, whole)))
        if other is not None:
            del kept[one.name], kept[other.name]
            renamed = _joined(one, other)
            kept[renamed.name] = renamed
    return list(kept.values())


def _nearest(one: FunctionChange, others: Iterable[FunctionChange]) -> FunctionChange | None:
    return min(others, key=lambda each: (abs(each.instructions.b - one.instructions.a), each.name), default=None)


def _is_renamed(one: FunctionChange, other: FunctionChange, whole: float) -> bool:
    calls = one.calls.a
    if calls <= 0 or abs(other.calls.b - calls) > _SAME_CALLS * calls:
        return False
    less, more = sorted((one.instructions.a, other.instructions.b))
    words, others = (frozenset(_WORD.findall(each.name.lower())) for each in (one, other))
    if words and others and (words <= others or others <= words):
        return more <= _MOST_GROWTH * less
    return more <= (1 + _SAME_COST) * less and less >= _LEAST_PART * whole


def _joined(gone: FunctionChange, new: FunctionChange) -> FunctionChange:
    def pair(one: Pair, other: Pair) -> Pair:
        return Pair(a=one.a, b=other.b, noise=max(one.noise, other.noise))

    return FunctionChange(
        name=f"{gone.name} -> {new.name}",
        modules=tuple(sorted({*gone.modules, *new.modules})),
        instructions=pair(gone.instructions, new.instructions),
        calls=pair(gone.calls, new.calls),
        share=None if gone.share is None or new.share is None else gone.share + new.share,
    )


def _pair(a: Sequence[float], b: Sequence[float]) -> Pair:
    return Pair(a=fmean(a), b=fmean(b), noise=max(max(a) - min(a), max(b) - min(b)))


def _change(
    name: str, a: Sequence[FunctionCost | None], b: Sequence[FunctionCost | None],
    units_a: float, units_b: float, whole: float,
) -> FunctionChange:  # fmt: skip
    instructions = _pair(
        [(cost.instructions if cost else 0) / units_a for cost in a],
        [(cost.instructions if cost else 0) / units_b for cost in b],
    )
    calls = _pair(
        [(cost.calls if cost else 0) / units_a for cost in a],
        [(cost.calls if cost else 0) / units_b for cost in b],
    )
    return FunctionChange(
        name=name,
        modules=tuple(sorted({module for cost in (*a, *b) if cost for module in cost.modules})),
        instructions=instructions,
        calls=calls,
        share=instructions.change / whole if whole else None,
    )
