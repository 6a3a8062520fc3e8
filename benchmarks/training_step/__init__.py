"""The measurements of `benchmarks.step`."""
