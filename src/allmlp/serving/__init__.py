"""A model behind HTTP: one process, pictures in, classes out, and a page to try it."""
