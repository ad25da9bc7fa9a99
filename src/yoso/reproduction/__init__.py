"""The tables and figures of the paper, measured on the modules of this package."""
