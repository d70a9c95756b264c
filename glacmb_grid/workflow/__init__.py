"""A run: what its stages read and write, which of them are current, and how they are made."""
