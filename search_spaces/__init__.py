"""Search-space files, each a search somebody would really run; README.md teaches the format."""
