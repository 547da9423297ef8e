"""Checkpoints in and out: safe reading, the official layouts and ours."""
