"""ResMLP as a translator: residual token mixing in the place of self-attention (ResMLP, section 3.6)."""
