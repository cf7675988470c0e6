"""Programs that faults are made of: each runs alone (`python -I -S FILE`), needs nothing else and ends by itself."""
