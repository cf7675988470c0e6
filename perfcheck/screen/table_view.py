"""The table's state: sorting, filter, groups, the selected row and what is in sight; it makes lines, and draws none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.grouping import GroupBy
from perfcheck.screen.columns import PAST, ScreenColumn, cells_of, columns_of, heading_lines, laid_out
from perfcheck.screen.filtering import FoundTexts, RowFilter
from perfcheck.screen.frame import Frame
from perfcheck.screen.lines import Line, Span, fitted, shown_text, width_of
from perfcheck.screen.look import Look, Tone
from perfcheck.screen.ordering import Order
from perfcheck.screen.ring import Ring
from perfcheck.screen.rows import GroupHistory, Rows, flow_rows

GROUPS: Final = (GroupBy.CONNECTION, GroupBy.PROCESS, GroupBy.APP, GroupBy.NETNS)
HEADINGS: Final = 2
"""Lines above the rows."""
DEFAULT_SORT: Final = "out"


class TableView:
    """What the table shows of a frame; the selection follows its row, wherever that goes."""

    def __init__(self, ring: Ring, look: Look, by: GroupBy = GroupBy.CONNECTION) -> None:
        """Show nothing yet."""
        self._ring = ring
        self._look = look
        self._order = Order()
        self._groups = GroupHistory()
        self._rows: Rows | None = None
        self._shown: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self.frame: Frame | None = None
        self.by = by
        self.sort = DEFAULT_SORT
        self.descending = True
        self.filter = RowFilter()
        self._found = FoundTexts()
        self.shows_closed = False
        self.hidden_closed = 0
        self.top = 0
        self.cursor = 0
        self._selected: int | None = None
        self.width, self.height = 80, 20
        self._needs: dict[str, int] = {}

    @property
    def rows(self) -> int:
        """How many rows pass the filter."""
        return len(self._shown)

    @property
    def of(self) -> int:
        """How many rows there are."""
        return 0 if self._rows is None else len(self._rows) - self.hidden_closed

    @property
    def visible(self) -> int:
        """How many rows fit."""
        return max(self.height - HEADINGS, 1)

    def show(self, frame: Frame) -> None:
        """Show a frame."""
        self.frame = frame
        recent = self._ring.before(frame, PAST)
        if self.by is GroupBy.CONNECTION:
            self._rows = flow_rows(frame, recent)
        else:
            self._rows = self._groups.rows(frame, recent, self.by)
        self._arrange()

    def _arrange(self) -> None:
        rows = self._rows
        if rows is None:
            return
        column = self.sort_column
        values = rows.values.get(column.sort, rows.keys)
        order = self._order.places(rows.keys, values, descending=self.descending)
        passing = self.filter.passing(rows, self._found)
        closed = np.zeros(len(rows), np.bool_) if self.shows_closed else rows.values["closed"]
        self.hidden_closed = int(closed.sum())
        self._shown = order[(passing & ~closed)[order]]
        self._follow_selected(rows)

    def _follow_selected(self, rows: Rows) -> None:
        """Keep the selected row at its line of the screen; a row that is gone leaves the cursor where it is."""
        if self._selected is not None:
            places = np.flatnonzero(rows.keys[self._shown] == np.uint64(self._selected))
            if len(places):
                line = self.cursor - self.top
                self.cursor = int(places[0])
                self.top = self.cursor - line
            else:
                self._selected = None
        self._keep_inside()

    def _keep_inside(self) -> None:
        last = max(len(self._shown) - 1, 0)
        self.cursor = min(max(self.cursor, 0), last)
        self.top = min(max(self.top, self.cursor - self.visible + 1, 0), self.cursor)
        self.top = min(self.top, max(len(self._shown) - self.visible, 0))

    def move(self, rows: int) -> None:
        """Move the cursor, and select what it comes to."""
        self.cursor += rows
        self._keep_inside()
        self._select()

    def scroll(self, rows: int) -> None:
        """Move what is in sight; the cursor stays within it."""
        self.top = min(max(self.top + rows, 0), max(len(self._shown) - self.visible, 0))
        self.cursor = min(max(self.cursor, self.top), self.top + self.visible - 1)
        self._keep_inside()
        self._select()

    def point(self, line: int) -> bool:
        """Put the cursor on a line of the screen; False where there is no row."""
        place = self.top + line - HEADINGS
        if line < HEADINGS or not 0 <= place < len(self._shown):
            return False
        self.cursor = place
        self._select()
        return True

    def release(self) -> None:
        """Select nothing: the first rows are shown, whichever they are."""
        self._selected = None
        self.cursor = self.top = 0

    def _select(self) -> None:
        if self._rows is not None and len(self._shown):
            # The first row is where a reader begins: who stays there wants the first one, whichever it is.
            self._selected = int(self._rows.keys[self._shown[self.cursor]]) if self.cursor or self.top else None

    @property
    def selected_flow(self) -> int | None:
        """The key of the connection under the cursor; of a group, of the one that carries the most."""
        if self._rows is None or self.frame is None or not len(self._shown):
            return None
        row = int(self._rows.row_of_flow[self._shown[self.cursor]])
        return int(self.frame.keys[row])

    @property
    def sort_column(self) -> ScreenColumn:
        """The column that sorts."""
        columns = columns_of(self.by)
        return next((each for each in columns if each.name == self.sort), columns[2])

    def sortable(self) -> Sequence[ScreenColumn]:
        """Return the columns in sight that can sort, in their order."""
        return [each.column for each in laid_out(columns_of(self.by), self.width, self._needs) if each.column.sort]

    def sort_by(self, name: str) -> None:
        """Sort by a column; the same one again turns the direction."""
        column = next(each for each in columns_of(self.by) if each.name == name)
        self.descending = not self.descending if name == self.sort else column.largest_first
        self.sort = name
        self._reorder()

    def sort_next(self, steps: int) -> None:
        """Sort by the next column in sight, or the one before."""
        names = [each.name for each in self.sortable()]
        here = names.index(self.sort) if self.sort in names else -1 if steps > 0 else 0
        name = names[(here + steps) % len(names)]
        self.sort = ""
        self.sort_by(name)

    def reverse(self) -> None:
        """Turn the direction."""
        self.descending = not self.descending
        self._reorder()

    def _reorder(self) -> None:
        self._order.forget()
        self._arrange()

    def group_by(self, by: GroupBy) -> None:
        """Show connections, or groups of them."""
        self.by = by
        if not any(each.name == self.sort for each in columns_of(by)):
            self.sort, self.descending = DEFAULT_SORT, True
        self._order.forget()
        self._needs = {}
        self.release()
        if self.frame is not None:
            self.show(self.frame)

    def next_group(self) -> None:
        """Go on to the next kind of group."""
        self.group_by(GROUPS[(GROUPS.index(self.by) + 1) % len(GROUPS)] if self.by in GROUPS else GROUPS[0])

    def filter_by(self, wanted: RowFilter) -> None:
        """Show only what passes."""
        self.filter = wanted
        self._needs = {}
        self._arrange()

    def toggle_closed(self) -> None:
        """Show connections that ended in the interval, or hide them."""
        self.shows_closed = not self.shows_closed
        self._arrange()

    def resize(self, width: int, height: int) -> None:
        """Take the room that there is."""
        if width != self.width:
            self._needs = {}
        self.width, self.height = width, height
        self._keep_inside()

    def lines(self) -> list[Line]:
        """Return the headings and the rows in sight."""
        self._measure()
        placed = laid_out(columns_of(self.by), self.width, self._needs)
        heads = heading_lines(placed, self.sort_column.name, descending=self.descending, look=self._look)
        made = [fitted(line, self.width) for line in heads]
        rows = self._rows
        shown = self._shown[self.top : self.top + self.visible].tolist()
        if rows is None or not shown:
            return [*made, ((f"  {self._nothing()}", Tone.DIM),)]
        columns = [cells_of(each, rows, shown, self._look) for each in placed]
        for number, cells in enumerate(zip(*columns, strict=True)):
            closed = bool(rows.values["closed"][shown[number]])
            made.append(self._row(cells, is_cursor=self.top + number == self.cursor, closed=closed))
        return made

    def _measure(self) -> None:
        """Widen the columns of texts for what is in sight; they grow only, so that nothing moves to and fro."""
        rows = self._rows
        shown = self._shown[self.top : self.top + self.visible].tolist()
        for name in ("group",) if self.by is not GroupBy.CONNECTION else ("remote", "process", "local"):
            widths = [width_of(shown_text(rows.text(name, row), wide=self._look.wide)) for row in shown] if rows else []
            self._needs[name] = max(self._needs.get(name, 0), *widths, 0)

    def _row(self, cells: Sequence[Span], *, is_cursor: bool, closed: bool) -> Line:
        pointer = ("▶" if self._look.wide else ">") if is_cursor else " "
        line: list[Span] = [(f"{pointer}{'x' if closed else ' '}", Tone.KEY)]
        for number, (text, own) in enumerate(cells):
            shown, tone = f" {text}" if number else text, Tone.DIM if closed else own
            # Blanks have no tone, and each piece costs time where it is drawn.
            if line[-1][1] is tone or not shown.strip():
                line[-1] = (f"{line[-1][0]}{shown}", line[-1][1])
            else:
                line.append((shown, tone))
        return tuple(line)

    def _nothing(self) -> str:
        if self._rows is None:
            return "waiting for the first interval"
        if self.filter.conditions and self.of:
            return f"none of {self.of:,} passes the filter; / changes it, Esc removes it"
        if self.hidden_closed:
            return "all that were here ended in this interval; c shows them"
        return "no connection in this interval"
