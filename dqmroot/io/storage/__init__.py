"""Bytes: where a file lies, how its pieces are had, and how they are inflated."""
