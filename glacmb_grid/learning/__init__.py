"""What is fitted on rows and a mask, and predicts. The only room that knows JAX.

One contract: ``fit(samples, folds, settings, seed) -> parameters`` with a `fold` dimension, and
``predict(parameters, rows) -> (fold, member, row)`` in m w.e.
"""
