"""BPF machinery for any layer: types, compiling, loading, attaching, and ring buffers."""
