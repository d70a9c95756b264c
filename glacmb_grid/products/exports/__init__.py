"""Products in the layouts of others: pure functions from a product to a table or a Dataset."""
