"""Model in, another model out, which computes the same: exact, and never in place."""
