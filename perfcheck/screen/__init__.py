"""The terminal screen of `perfctl top`: intervals become frames, frames become lines, lines are what Textual draws.

`app.TopApp` is the screen; only it, `pane` and `table` import Textual. What they show is made by the other modules,
which know no terminal.
"""
