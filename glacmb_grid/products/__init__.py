"""The products: what is written for users, as Datasets with their metadata."""
