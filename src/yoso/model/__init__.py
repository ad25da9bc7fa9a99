"""The network of section 3 of the paper, and its deployment form."""
