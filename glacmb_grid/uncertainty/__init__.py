"""How far a prediction may be off: intervals that hold, where the predictors are unlike those learnt from, errors."""
