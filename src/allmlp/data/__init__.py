"""Where images come from, how they are split, changed at random, and batched."""
