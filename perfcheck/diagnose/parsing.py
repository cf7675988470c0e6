"""Reads the condition of a rule: Python's expression syntax cut down to what a rule needs, with units.

    condition  := comparison | has(METRIC) | not condition | condition and|or condition
    comparison := quantity (< <= > >= == !=) quantity ...
    quantity   := NUMBER | NUMBER+UNIT | METRIC | quantity + - * / quantity | -quantity
                | min(...) | max(...) | either(...) | abs(quantity) | spread(METRIC) | baseline(METRIC)

A term's name can replace its quantity or condition. A number with a unit is written as in
scenario files, without a space: 30ms, 100mbit, 256kb, 0.1%.
Python never evaluates the text: `ast` parses it, and this module translates each node.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import re
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from perfcheck.diagnose.condition import (
    Arithmetic,
    ArithmeticOperator,
    Comparator,
    Comparison,
    Condition,
    Function,
    Has,
    Junction,
    Metric,
    Not,
    Number,
    Quantity,
    Spread,
    measure,
)  # fmt: skip
from perfcheck.diagnose.dimension import (
    BARE,
    LITERAL_UNITS,
    NUMBER,
    Dimension,
    DimensionMismatch,
    literal_quantity,
    metric_dimension,
)  # fmt: skip
from perfcheck.model.metric import MetricSpec

Node = TypeVar("Node", bound=Quantity | Condition)

NO_TERMS: Final[Mapping[str, Quantity | Condition]] = MappingProxyType({})

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 60
MAX_PARTS: Final = 3000
MAX_POWER: Final = 8
"""Of data or time in a unit, such as bit^2 s^-1."""
MAX_NAME: Final = 100
"""Longer names are no misspelling of a known one, and are not compared with them."""

_LITERAL: Final = re.compile(r"(?<![\w.])(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?P<unit>[A-Za-z]+|%)(?![\w.])")
_COMPARATORS: Final[Mapping[type[ast.cmpop], Comparator]] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_ARITHMETIC: Final[Mapping[type[ast.operator], ArithmeticOperator]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/",
}  # fmt: skip
_OF_QUANTITIES: Final[Mapping[str, Literal["min", "max", "abs", "either"]]] = {
    "min": "min", "max": "max", "abs": "abs", "either": "either",
}  # fmt: skip
_OF_METRIC: Final = ("has", "spread", "baseline")
_WRITE: Final = "compare metrics with quantities, such as tcp.rtt_us.p50 > 30ms"


class ConditionError(ValueError):
    """A condition cannot be read; `offset` is where, in characters from its start."""

    def __init__(self, offset: int, message: str) -> None:
        """Keep both apart, since only the loader knows where the condition begins in its file."""
        super().__init__(message)
        self.offset = offset


Terms = Mapping[str, Quantity | Condition]
"""What rule files have named, by name."""

RESERVED: Final = frozenset({"and", "or", "not", *_OF_QUANTITIES, *_OF_METRIC, *keyword.kwlist})
"""Words that cannot be a term's name."""


def parse_condition(text: str, catalogue: Mapping[str, MetricSpec], terms: Terms = NO_TERMS) -> Condition:
    """Read a condition over the catalogue's metrics; ConditionError says where and what is wrong."""
    reader, body = _prepared(text, catalogue, terms)
    return _bounded(reader.condition(body))


def parse_term(text: str, catalogue: Mapping[str, MetricSpec], terms: Terms = NO_TERMS) -> Quantity | Condition:
    """Read what a term stands for: a condition or a quantity; ConditionError as above."""
    reader, body = _prepared(text, catalogue, terms)
    logical = isinstance(body, (ast.BoolOp, ast.Compare)) or (
        isinstance(body, ast.UnaryOp) and isinstance(body.op, ast.Not)
    )
    if logical or (isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and body.func.id == "has"):
        return _bounded(reader.condition(body))
    return _bounded(reader.quantity(body))


def _bounded(node: Node) -> Node:
    """Refuse what terms made too large: each of them is short, but they may double at each step."""
    parts, depth = measure(node, most=MAX_PARTS)
    if parts > MAX_PARTS or depth > MAX_DEPTH:
        limits = f"more than {MAX_PARTS} parts or {MAX_DEPTH} levels"
        raise ConditionError(0, f"has {limits} when its terms are expanded: split it into several rules")
    return node


def _prepared(text: str, catalogue: Mapping[str, MetricSpec], terms: Terms) -> tuple[_Reader, ast.expr]:
    if len(text) > MAX_LENGTH:
        raise ConditionError(0, f"longer than {MAX_LENGTH} characters: split it into several rules")
    if not text.isascii() or "\0" in text:
        offset = next(index for index, character in enumerate(text) if not character.isascii() or character == "\0")
        raise ConditionError(offset, f"unexpected character {text[offset]!r}")
    # Every quantity is replaced by a name of underscores of the same length, so that all offsets stay true.
    flat = re.sub(r"[\n\r\t\f]", " ", text)
    literals = {match.start(): match for match in _LITERAL.finditer(flat)}
    names = _LITERAL.sub(lambda match: "_" * len(match.group()), flat)
    stripped = names.strip()
    indent = len(names) - len(names.lstrip())
    tree = _syntax_tree(stripped, indent)
    return _Reader(flat, indent, literals, catalogue, terms), tree.body


def _syntax_tree(source: str, indent: int) -> ast.Expression:
    if not source:
        raise ConditionError(0, f"the condition is empty: {_WRITE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        at_end = not error.offset  # Python tells so that something is missing after the last character
        offset = len(source) if at_end else min(len(source), (error.offset or 1) - 1)
        raise ConditionError(indent + offset, f"cannot be read as a condition: {error.msg}; {_WRITE}") from None
    except (ValueError, MemoryError, RecursionError, Warning) as error:
        raise ConditionError(indent, f"cannot be read as a condition: {error}; {_WRITE}") from None
    level: list[ast.AST] = [tree.body]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise ConditionError(indent, f"nested more than {MAX_DEPTH} deep: split it into several rules")


class _Reader:
    """Takes over one syntax tree, checking names and dimensions."""

    def __init__(
        self,
        text: str,
        indent: int,
        literals: Mapping[int, re.Match[str]],
        catalogue: Mapping[str, MetricSpec],
        terms: Terms,
    ) -> None:
        self._text = text
        self._indent = indent
        self._literals = literals
        self._catalogue = catalogue
        self._terms = terms

    def condition(self, node: ast.expr) -> Condition:
        """Take over an expression that must be true or false."""
        match node:
            case ast.BoolOp():
                operator: Literal["and", "or"] = "and" if isinstance(node.op, ast.And) else "or"
                return Junction(operator=operator, operands=tuple(self.condition(each) for each in node.values))
            case ast.UnaryOp(op=ast.Not()):
                return Not(operand=self.condition(node.operand))
            case ast.Compare():
                return self._comparison(node)
            case ast.Call(func=ast.Name(id="has")):
                return Has(name=self._metric_argument(node, "has").name)
            case ast.Name() if isinstance(term := self._terms.get(node.id), Condition):
                return term
            case _:
                self.quantity(node)
                raise self._error(node, f"is a quantity where a condition is needed: {_WRITE}")

    def _comparison(self, node: ast.Compare) -> Condition:
        sides = [node.left, *node.comparators]
        values = [self.quantity(side) for side in sides]
        links: list[Condition] = []
        for index, operator in enumerate(node.ops):
            symbol = _COMPARATORS.get(type(operator))
            if symbol is None:
                raise self._error(node, "compare with < <= > >= == or !=")
            left, right = values[index], values[index + 1]
            self._joined(sides[index + 1], left, right, "compare")
            links.append(
                Comparison(
                    operator=symbol, left=left, right=right,
                    left_text=self._source(sides[index]), right_text=self._source(sides[index + 1]),
                )
            )  # fmt: skip
        return links[0] if len(links) == 1 else Junction(operator="and", operands=tuple(links))

    def quantity(self, node: ast.expr) -> Quantity:
        """Take over an expression that must be a quantity."""
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.UnaryOp(op=ast.USub()):
                operand = self.quantity(node.operand)
                minus_one = Number(value=-1.0, dimension=BARE)
                return Arithmetic(operator="*", left=minus_one, right=operand, dimension=operand.dimension)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Call():
                return self._call(node)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self._error(node, f"is a condition where a quantity is needed: {_WRITE}")
            case _:
                raise self._error(node, f"is not part of the language of rules: {_WRITE}")

    def _named(self, node: ast.Name | ast.Attribute) -> Quantity:
        """Take over a literal with a unit, a term or a metric."""
        if isinstance(node, ast.Attribute):
            return self._metric(node)
        literal = self._literals.get(self._start(node))
        if literal is not None:
            return self._literal(node, literal)
        term = self._terms.get(node.id)
        if isinstance(term, Condition):
            raise self._error(node, f"is a condition where a quantity is needed: {_WRITE}")
        return self._metric(node) if term is None else term

    def _number(self, node: ast.Constant) -> Number:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise self._error(node, "expected a number, a quantity such as 30ms, or a metric's name without quotes")
        if not abs(node.value) < 1e300:
            raise self._error(node, "is too large a number")
        return Number(value=float(node.value), dimension=BARE)

    def _literal(self, node: ast.expr, literal: re.Match[str]) -> Number:
        unit = literal["unit"].lower()
        quantity = literal_quantity(float(literal["number"]), unit)
        if quantity is None:
            raise self._error(
                node, f"{unit!r} is not a unit: expected {', '.join(LITERAL_UNITS)}{_nearest(unit, LITERAL_UNITS)}"
            )
        if not quantity[1] < 1e300:
            raise self._error(node, "is too large a quantity")
        return Number(value=quantity[1], dimension=quantity[0])

    def _metric(self, node: ast.expr) -> Metric:
        name = self._dotted(node)
        spec = self._catalogue.get(name)
        if spec is None:
            stats = [known for known in self._catalogue if known.startswith(f"{name}.")]
            known = (*self._catalogue, *self._terms)
            hint = f": it needs a statistic, such as {stats[0]}" if stats else _nearest(name, known)
            raise self._error(node, f"{name!r} is not a metric{hint} (`perfcheck metrics` lists all)")
        dimension, scale = metric_dimension(spec.unit)
        return Metric(name=name, scale=scale, dimension=dimension)

    def _arithmetic(self, node: ast.BinOp) -> Quantity:
        operator = _ARITHMETIC.get(type(node.op))
        if operator is None:
            raise self._error(node, "only + - * / are known; a percentage is written without a space, as 0.1%")
        left, right = self.quantity(node.left), self.quantity(node.right)
        if operator in ("+", "-"):
            dimension = self._joined(node.right, left, right, "add" if operator == "+" else "subtract")
        elif operator == "*":
            dimension = left.dimension * right.dimension
        else:
            dimension = left.dimension / right.dimension
        if max(abs(dimension.data), abs(dimension.time)) > MAX_POWER:
            raise self._error(node, f"has the unit bit^{dimension.data} s^{dimension.time}: no power above {MAX_POWER}")
        return Arithmetic(operator=operator, left=left, right=right, dimension=dimension)

    def _call(self, node: ast.Call) -> Quantity:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "has":
            raise self._error(node, "has(...) is a condition where a quantity is needed")
        if name == "spread":
            return Spread(name=self._metric_argument(node, name).name, dimension=NUMBER)
        if name == "baseline":
            metric = self._metric_argument(node, name)
            return Metric(name=metric.name, scale=metric.scale, dimension=metric.dimension, of="baseline")
        function = _OF_QUANTITIES.get(name)
        if function is None:
            known = (*_OF_QUANTITIES, *_OF_METRIC)
            raise self._error(node, f"only {', '.join(known)} can be called{_nearest(name, known)}")
        wanted = len(node.args) == 1 if name == "abs" else len(node.args) >= 2
        if node.keywords or not wanted:
            raise self._error(node, f"{name}() takes {'one quantity' if name == 'abs' else 'two or more quantities'}")
        arguments = tuple(self.quantity(argument) for argument in node.args)
        dimension = arguments[0].dimension
        for place, before, argument in zip(node.args[1:], arguments, arguments[1:], strict=False):
            dimension = self._joined(place, before, argument, "compare")
        return Function(name=function, arguments=arguments, dimension=dimension)

    def _metric_argument(self, node: ast.Call, function: str) -> Metric:
        if node.keywords or len(node.args) != 1 or not isinstance(node.args[0], (ast.Name, ast.Attribute)):
            raise self._error(node, f"{function}() takes the name of one metric")
        return self._metric(node.args[0])

    def _joined(self, place: ast.expr, left: Quantity, right: Quantity, doing: str) -> Dimension:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Number) and one.dimension.bare and one.value == 0:
                return other.dimension  # zero is zero in every unit
        try:
            return left.dimension.joined(right.dimension, doing)
        except DimensionMismatch as mismatch:
            raise self._error(place, str(mismatch)) from None

    def _dotted(self, node: ast.expr) -> str:
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise self._error(node, f"is not part of the language of rules: {_WRITE}")
        return ".".join((inner.id, *reversed(parts)))

    def _start(self, node: ast.expr) -> int:
        return self._indent + node.col_offset

    def _source(self, node: ast.expr) -> str:
        end = self._indent + (node.end_col_offset or node.col_offset)
        return " ".join(self._text[self._start(node) : end].split())

    def _error(self, node: ast.expr, message: str) -> ConditionError:
        text = self._source(node)
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        return ConditionError(self._start(node), message if repr(text) in message else f"`{shown}`: {message}")


def _nearest(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1) if len(name) <= MAX_NAME else []
    return f"; did you mean {near[0]}?" if near else ""
