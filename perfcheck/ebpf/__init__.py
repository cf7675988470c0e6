"""BPF without a layer: types, compiling, loading, attaching and the rings that programs write to."""
