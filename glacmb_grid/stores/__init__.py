"""Our results on disk: where they are, what they were made from, and whether they are intact."""
