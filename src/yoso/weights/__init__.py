"""Model folders: found, fetched, read, written, and converted from official checkpoints."""
