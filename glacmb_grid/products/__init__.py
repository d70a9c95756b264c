"""What is written: the products' attributes, the gridded product, and files in the layouts of others."""
