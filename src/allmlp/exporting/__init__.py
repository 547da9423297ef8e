"""A trained model as a bundle that programs without allmlp can load."""
