"""What is raised for a file that gives no image."""

from __future__ import annotations


class UndecodableImage(Exception):
    """A file that gives no image; its message is the reason, in a few words for the user."""
