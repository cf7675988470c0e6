"""What is sampled while a trial runs, and by whom."""
