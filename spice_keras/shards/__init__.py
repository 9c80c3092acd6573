"""Folders of shards: what is too large for one file, each part written once and checked."""
