"""One training: steps, learning rate schedule, loss and checkpoints."""
