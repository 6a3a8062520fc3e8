"""Video files: which there are, how they are split and cropped, and every frame in presentation order."""
