"""Clustering metrics: against labels, and what can be said without them."""
