"""The one way a model is run for its answers: by predict, evaluate, and training's own validation."""
