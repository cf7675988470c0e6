"""sock_diag: the kernel's own word on each connection."""
