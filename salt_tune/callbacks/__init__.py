"""What follows a search and never steers it; one file each."""
