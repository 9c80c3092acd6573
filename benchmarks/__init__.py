"""Comparisons of spice_keras with what a user would otherwise write: see README.md."""
