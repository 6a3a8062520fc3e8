"""What users see of every command: console, progress, numbers in words, signals."""
