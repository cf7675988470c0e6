"""Two sides of one scenario as a page: kernels, settings or commits, measured beside each other or one by one."""
