"""Files to pixels to tensors: safe reading, and the preprocessing that belongs to a checkpoint."""
