"""The network of section 3 of the paper, and reading and writing its weights."""
