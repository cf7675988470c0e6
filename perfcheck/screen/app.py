"""The screen: panes of lines, the keys, and when what is drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.filter import LineFilter, NoColor
from textual.message import Message
from textual.widgets import Input

from perfcheck.errors import UsageError
from perfcheck.screen import clock as clocks
from perfcheck.screen import filtering
from perfcheck.screen.bindings import IN_PROMPT, KEY_BINDINGS
from perfcheck.screen.clock import Clock
from perfcheck.screen.driver import ScreenDriver
from perfcheck.screen.feed import Feed
from perfcheck.screen.filtering import RowFilter, parse_filter
from perfcheck.screen.flow_page import flow_lines
from perfcheck.screen.footer import footer_line
from perfcheck.screen.frame import keys_array
from perfcheck.screen.header import header_lines
from perfcheck.screen.lines import Line, Span, shown_text
from perfcheck.screen.look import Tone
from perfcheck.screen.navigation import Navigation
from perfcheck.screen.pages import alert_lines, help_lines
from perfcheck.screen.pane import LinePane
from perfcheck.screen.request import ScreenRequest, TerminalGone
from perfcheck.screen.ring import Ring
from perfcheck.screen.table_view import HEADINGS, TableView
from perfcheck.screen.terminal import is_gone

PAST_OF_A_FLOW: Final = 600
"""Frames that the page of a connection looks at."""
PAST_OF_ALERTS: Final = 3600
LEAST_BELOW: Final = 4
"""Lines below the header, however low the terminal is: headings, a row, and the keys."""
MOST_SAID: Final = 100
"""Lines of others that are kept."""
_LOOKED_EVERY_S: Final = 1.0
_LEAST_STEP_S: Final = 0.05


class News(Message):
    """The feed has something new."""


class EndAsked(Message):
    """The screen is to end."""


class TopApp(App[None]):
    """`perfctl top`."""

    CSS = """
    Screen { background: ansi_default; color: ansi_default; layout: vertical; overflow: hidden; }
    LinePane { width: 100%; background: ansi_default; color: ansi_default; }
    #header, #footer { height: 1; }
    #table, #page { height: 1fr; }
    Input { height: 1; width: 100%; border: none; padding: 0; background: ansi_default; color: ansi_default; }
    Input:focus { border: none; background: ansi_default; }
    """
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = list(KEY_BINDINGS)

    def __init__(self, feed: Feed, request: ScreenRequest, ring: Ring | None = None) -> None:
        """Take where frames come from; nothing runs yet."""
        super().__init__(driver_class=ScreenDriver, ansi_color=True)
        self._request = request
        self._feed = feed
        self._ring = ring or Ring()
        self._clock = Clock(utc=request.is_recorded)
        self.navigation = Navigation(self._ring, feed, self._clock, is_recorded=request.is_recorded)
        self.view = TableView(self._ring, request.look, request.by)
        self.view.filter = request.filter
        self.page = ""
        self._asked = ""
        self._flow: int | None = None
        self._note: Span | None = None
        self._plain: list[LineFilter] = [] if request.look.colours else [NoColor()]
        self.animation_level = "none"
        self.failure: BaseException | None = None
        self.defect: Exception | None = None
        self.said: list[str] = []

    def end_soon(self) -> None:
        """End; may be called by a signal's handler or another thread."""
        self.post_message(EndAsked())

    def on_end_asked(self) -> None:
        """End."""
        self.exit()

    def on_print(self, event: events.Print) -> None:
        """Keep what others write meanwhile, and show its last line."""
        lines = [line for line in event.text.splitlines() if line.strip()]
        self.said = [*self.said, *lines][-MOST_SAID:]
        if lines:
            self._told(lines[-1])

    def _handle_exception(self, error: Exception) -> None:
        """Keep a defect of the screen for the command, which tells it as any other."""
        self.defect = self.defect or error
        self.exit(return_code=1)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what lines pass before they are written."""
        return [*super().get_line_filters(), *self._plain]

    def compose(self) -> ComposeResult:
        """Yield the panes."""
        look = self._request.look
        yield LinePane(look, "header")
        yield LinePane(look, "table")
        yield LinePane(look, "page")
        asked = Input(id="prompt", compact=True, select_on_focus=False)
        asked.cursor_blink = False
        yield asked
        yield LinePane(look, "footer")

    def on_mount(self) -> None:
        """Begin."""
        self.begin_capture_print(self)
        self.query_one("#page").display = False
        self.query_one("#prompt").display = False
        self._feed.start(self._news)
        if self._request.terminal is not None:
            self.set_interval(_LOOKED_EVERY_S, self._look_at_terminal)
        if self._request.is_recorded:
            self._plan()
        self.call_after_refresh(self._draw)

    def _news(self) -> None:
        self.post_message(News())

    def _look_at_terminal(self) -> None:
        """End where the terminal is gone and nobody said so (nohup ignores SIGHUP)."""
        if is_gone(self._request.terminal or 0):
            self.failure = TerminalGone("the terminal is gone")
            self.exit()

    def _plan(self) -> None:
        """Show the next interval of a recording after as long as it lasted."""
        shown = self.navigation.shown
        seconds = 0.2 if shown is None else max(shown.seconds, _LEAST_STEP_S)
        self.set_timer(seconds, self._play_on)

    def _play_on(self) -> None:
        if self.navigation.play():
            self._show()
        self._plan()

    def on_news(self) -> None:
        """Take what the feed has."""
        for frame in self._feed.take():
            self._ring.append(frame)
        if self._feed.ended and (self._feed.error is not None or not self._request.is_recorded):
            self.failure = self._feed.error
            self.exit()
            return
        if self.navigation.arrived():
            self._show()
        else:
            self._draw_frame()

    def on_resize(self, event: events.Resize) -> None:
        """Draw anew at the new size."""
        del event
        self.call_after_refresh(self._draw)

    def _show(self) -> None:
        if self.navigation.shown is not None:
            self.view.show(self.navigation.shown)
        self._draw()

    def _pane(self, name: str) -> LinePane:
        return self.query_one(f"#{name}", LinePane)

    def _draw(self) -> None:
        """Draw all panes; each of them only where it changed."""
        self._draw_frame()
        if self.page:
            pane = self._pane("page")
            pane.set_lines(self._page_lines(pane.size.width))
        else:
            pane = self._pane("table")
            self.view.resize(pane.size.width, pane.size.height)
            marked = self.view.cursor - self.view.top + HEADINGS if self.view.rows else -1
            pane.set_lines(self.view.lines(), marked)
        self._draw_footer()

    def _draw_frame(self) -> None:
        pane = self._pane("header")
        look, width = self._request.look, self.size.width
        title = self._request.title
        lines = header_lines(self.navigation.shown, title, self.navigation.position, self._clock, look, width)
        lines = lines[: max(self.size.height - LEAST_BELOW, 1)]
        if pane.size.height != len(lines):
            pane.styles.height = len(lines)
            # The panes below it move first.
            self.call_after_refresh(self._draw)
        pane.set_lines(lines)

    def _page_lines(self, width: int) -> list[Line]:
        look, shown = self._request.look, self.navigation.shown
        if self.page == "help":
            return help_lines(width)
        if shown is None:
            return []
        if self.page == "alerts":
            return alert_lines(self._ring.before(shown, PAST_OF_ALERTS), look, width)
        rows = shown.rows_of(keys_array([self._flow or 0]))
        if rows[0] < 0:
            return [(("this connection is not in this interval: it ended, or had not begun", Tone.WARN),)]
        return flow_lines(shown, int(rows[0]), self._ring.before(shown, PAST_OF_A_FLOW), look, width)

    def _draw_footer(self) -> None:
        more = self._pane("page").more if self.page else None
        line = footer_line(self.view, self._request.look, self.size.width, note=self._note, below=more)
        self._pane("footer").set_lines([line])

    def _told(self, text: str) -> None:
        """Show what was wrong, until the next key."""
        self._note = (shown_text(text, wide=self._request.look.wide), Tone.ALARM)
        self._draw_footer()

    def on_key(self, event: events.Key) -> None:
        """Let a note go with the next key."""
        del event
        if self._note is not None:
            self._note = None
            self._draw_footer()

    def on_mouse_scroll_down(self) -> None:
        """Show what is below."""
        self._scroll(3)

    def on_mouse_scroll_up(self) -> None:
        """Show what is above."""
        self._scroll(-3)

    def _scroll(self, lines: int) -> None:
        if self.page:
            self._pane("page").scroll_lines(lines)
            self._draw_footer()
        else:
            self.view.scroll(lines)
            self._draw()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row."""
        if not self.page and event.widget is self._pane("table") and self.view.point(event.y):
            self._draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Return whether a key's action is to be taken: while a text is typed, most keys are that text."""
        del parameters
        return not self._asked or action in IN_PROMPT

    def action_end(self) -> None:
        """End."""
        self.exit()

    action_stop = action_end

    def action_page(self, name: str) -> None:
        """Show a page of text, or go back from it."""
        self._open("" if self.page == name else name)

    def action_flow(self) -> None:
        """Show the page of the connection under the cursor."""
        if not self.page and self.view.selected_flow is not None:
            self._flow = self.view.selected_flow
            self._open("flow")

    def _open(self, name: str) -> None:
        self.page = name
        self._pane("page").display = bool(name)
        self._pane("table").display = not name
        self._pane("page").top = 0
        self.call_after_refresh(self._draw)

    async def action_back(self) -> None:
        """Go back: from a prompt, from a page, from a filter."""
        if self._asked:
            self._close_prompt()
        elif self.page:
            self._open("")
        elif self.view.filter.conditions:
            self.view.filter_by(RowFilter())
            self._draw()

    def action_pause(self) -> None:
        """Stand still, or go on."""
        if self.navigation.toggle():
            self._show()
        self._draw_frame()

    def _moved(self, changed: bool) -> None:
        if changed:
            self._show()
        else:
            self._draw_frame()

    def action_step(self, intervals: int) -> None:
        """Go in time."""
        self._moved(self.navigation.step(intervals))

    def action_edge(self, last: bool) -> None:
        """Go to the first or the last interval."""
        self._moved(self.navigation.edge(last=last))

    def action_group(self) -> None:
        """Group differently."""
        self._in_table(self.view.next_group)

    def action_closed(self) -> None:
        """Show connections that ended, or hide them."""
        self._in_table(self.view.toggle_closed)

    def action_sort_next(self, steps: int) -> None:
        """Sort by another column."""
        self._in_table(lambda: self.view.sort_next(steps))

    def action_sort_nth(self, number: int) -> None:
        """Sort by the column of this number, counted from the left."""
        columns = self.view.sortable()
        if number <= len(columns):
            self._in_table(lambda: self.view.sort_by(columns[number - 1].name))

    def action_reverse(self) -> None:
        """Turn the direction."""
        self._in_table(self.view.reverse)

    def action_release(self) -> None:
        """Select nothing."""
        self._in_table(self.view.release)

    def action_move(self, rows: int) -> None:
        """Move the cursor, or a page of text."""
        if self.page:
            self._scroll(rows)
        else:
            self._in_table(lambda: self.view.move(rows))

    def action_leap(self, pages: int) -> None:
        """Move by what fits."""
        height = self._pane("page").size.height if self.page else self.view.visible
        self.action_move(pages * max(height - 1, 1))

    def _in_table(self, act: Callable[[], None]) -> None:
        if not self.page:
            act()
            self._draw()

    def action_ask(self, what: str) -> None:
        """Let the user type a filter, or a time."""
        if what == "filter" and self.page:
            return
        self._asked = what
        prompt = self.query_one("#prompt", Input)
        prompt.value = self.view.filter.text if what == "filter" else ""
        examples = filtering.EXAMPLES if what == "filter" else clocks.EXAMPLES
        prompt.placeholder = f"{what}, e.g. {examples}"
        prompt.display = True
        prompt.cursor_position = len(prompt.value)
        # At once: the next key may be here already.
        self.screen.set_focus(prompt)
        self.call_after_refresh(self._draw)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take what was typed; what is wrong with it is said, and it stays to be mended."""
        try:
            if self._asked == "filter":
                self.view.filter_by(parse_filter(event.value))
            elif event.value.strip():
                self._moved(self.navigation.jump(event.value))
        except UsageError as problem:
            self._told(f"{self._asked}: {problem}")
            return
        self._close_prompt()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Let the note of the last mistake go."""
        del event
        if self._note is not None:
            self._note = None
            self._draw_footer()

    def _close_prompt(self) -> None:
        self._asked = ""
        prompt = self.query_one("#prompt", Input)
        prompt.display = False
        self.set_focus(None)
        self.call_after_refresh(self._draw)
