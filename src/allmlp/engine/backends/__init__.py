"""Ways of running a model, one file each, behind one interface."""
