"""One file per command: what its words mean, which function they call, how the answer is printed."""
