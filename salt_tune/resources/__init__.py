"""What trials share: CPUs, GPUs and disk."""
