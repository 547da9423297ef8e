"""Checkpoints that others have released: what there is by name, and how a file is fetched, kept and verified."""
