"""Figures and the offline HTML report."""
