"""Which samples are fitted on and which are scored: schemes, inner splits, leaky protocols and locked glaciers."""
