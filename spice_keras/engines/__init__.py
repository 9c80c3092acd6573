"""Engines: what writes the shards of a folder, one process or the workers of a Ray cluster."""
