"""Pictures of results: overlays, names, contact sheets, charts. NumPy and Pillow only."""
