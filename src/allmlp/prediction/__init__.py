"""Classes of pictures nobody has labelled."""
