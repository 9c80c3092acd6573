"""A run on disk and from end to end: its folder, its artifacts, its history, its order."""
