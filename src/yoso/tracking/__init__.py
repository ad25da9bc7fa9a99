"""Identities across frames, from segmentations alone (NumPy and SciPy only)."""
