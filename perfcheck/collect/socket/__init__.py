"""The socket layer: buffers, and who waits for whom."""
