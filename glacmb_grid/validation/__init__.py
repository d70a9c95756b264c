"""Honest judgement: folds, scores, comparisons."""
