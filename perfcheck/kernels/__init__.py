"""The kernel lab: kernels in a local store, and guests that boot them in counted instructions."""
