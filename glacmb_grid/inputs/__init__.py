"""Readers of input files: lazily, in the names and units of `vocabulary`, one module per kind of input."""
