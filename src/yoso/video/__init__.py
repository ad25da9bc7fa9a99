"""Frames in, frames out, and the stream between them."""
