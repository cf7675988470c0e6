"""Finds the kernel that brought a regression: which one is measured next, what its verdict says, and what is kept."""
