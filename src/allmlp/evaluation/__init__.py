"""How good a trained model is, on which images."""
