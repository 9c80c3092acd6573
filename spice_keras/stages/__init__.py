"""The stages of a run: the only readers of the configuration."""
