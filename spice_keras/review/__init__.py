"""What a person decides about a run's clusters: edits that are kept, replayed and learned from."""
