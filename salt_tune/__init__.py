"""Hyperparameter search for video self-supervision on Ray Tune: the commands, and all that talks to Ray."""
