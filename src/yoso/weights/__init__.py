"""Model folders: found, fetched, read, written, converted from official checkpoints."""
