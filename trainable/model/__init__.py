"""Student and predictor: layers, positions, sizes, and the encoder as a file."""
