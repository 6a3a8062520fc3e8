"""What a training is judged by, on the same held-out clips and masks for all."""
