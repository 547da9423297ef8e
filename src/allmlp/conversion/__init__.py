"""Checkpoints from one layout to another: recognised by names and shapes, written with all that is known of them."""
