"""The tree of a rule's condition, after its names and units were checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from perfcheck.diagnose.dimension import Dimension

ArithmeticOperator = Literal["+", "-", "*", "/"]
Comparator = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A literal, in base units."""

    value: float
    dimension: Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A catalogue metric's value; `scale` takes it to base units. `of` says whose value is meant."""

    name: str
    scale: float
    dimension: Dimension
    of: Literal["run", "baseline"] = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """(maximum - minimum) / median of a metric over the trials."""

    name: str
    dimension: Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Two quantities joined by an operator."""

    operator: ArithmeticOperator
    left: Quantity
    right: Quantity
    dimension: Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`min`, `max`, `abs` or `either` (the first that is known) of quantities of one dimension."""

    name: Literal["min", "max", "abs", "either"]
    arguments: tuple[Quantity, ...]
    dimension: Dimension


Quantity = Number | Metric | Spread | Arithmetic | Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two quantities compared, with the text of either side as the rule has it."""

    operator: Comparator
    left: Quantity
    right: Quantity
    left_text: str
    right_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Has:
    """Whether a metric was measured; never unknown."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """Negation."""

    operand: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Junction:
    """`and` or `or` over two or more conditions."""

    operator: Literal["and", "or"]
    operands: tuple[Condition, ...]


Condition = Comparison | Has | Not | Junction


def quantities(node: Condition | Quantity) -> Iterator[Quantity]:
    """Yield every quantity below a node, the node included, left to right."""
    match node:
        case Comparison() | Arithmetic():
            if isinstance(node, Arithmetic):
                yield node
            yield from quantities(node.left)
            yield from quantities(node.right)
        case Function():
            yield node
            for argument in node.arguments:
                yield from quantities(argument)
        case Not():
            yield from quantities(node.operand)
        case Junction():
            for operand in node.operands:
                yield from quantities(operand)
        case Has():
            return
        case _:
            yield node


def distinct(node: Condition | Quantity) -> Iterator[Quantity]:
    """Yield every quantity below a node once, also where terms share it, left to right."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Quantity):
            yield part
        waiting += reversed(_parts(part))


def measure(node: Condition | Quantity, *, most: int) -> tuple[int, int]:
    """Return how many parts a tree has and how deep it is, terms written out; counting ends beyond `most`."""
    count, deepest = 0, 0
    waiting: list[tuple[Condition | Quantity, int]] = [(node, 1)]
    while waiting and count <= most:
        part, depth = waiting.pop()
        count, deepest = count + 1, max(deepest, depth)
        waiting += [(inner, depth + 1) for inner in _parts(part)]
    return count, deepest


def _parts(node: Condition | Quantity) -> tuple[Condition | Quantity, ...]:
    match node:
        case Comparison() | Arithmetic():
            return node.left, node.right
        case Function():
            return node.arguments
        case Not():
            return (node.operand,)
        case Junction():
            return node.operands
        case _:
            return ()


def metric_names(condition: Condition) -> tuple[str, ...]:
    """Return the metrics whose values a condition reads, each once, in order of appearance."""
    names = (node.name for node in quantities(condition) if isinstance(node, (Metric, Spread)))
    return tuple(dict.fromkeys(names))
