"""The outside world to our words, lazily: one source, one file."""
