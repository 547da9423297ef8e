"""What a model does, as arrays: its token-mixing matrices, what each output depends on, what speaks for a class."""
