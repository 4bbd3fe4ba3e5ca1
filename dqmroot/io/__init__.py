"""Readers and writers: files in, series out, and back."""
