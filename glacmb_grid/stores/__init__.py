"""Our own results on disk: where they lie, what they were made of, whether they are whole."""
