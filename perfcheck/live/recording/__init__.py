"""Recordings: intervals in a file, and the ring on disk that keeps the latest of them.

`read_recording` (reading.py) yields the intervals again; `RecordingFile` (writing.py) and `Ring` (ring.py) keep them.
"""
