"""Pictures of results: overlays with names, contact sheets, charts. NumPy and Pillow only."""
