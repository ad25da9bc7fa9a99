"""The tables and figures of the paper, measured with the modules of this package."""
