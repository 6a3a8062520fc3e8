"""Videos to features: an encoder on every video of a folder, and the file of what comes out."""
