"""Programs for those who download: each is a file of its own that needs nothing of vo-service."""
