"""The history of a metric as a page: its runs, levels, limits and what is beyond them."""
