"""From fitted folds to every glacier and year."""
