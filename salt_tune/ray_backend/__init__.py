"""All that talks to Ray."""
