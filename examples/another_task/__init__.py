"""A task of another kind: a masked autoencoder on the pixels of a clip store."""
