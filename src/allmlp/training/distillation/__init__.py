"""Teachers: how they are opened, how they see the student's images, and their answers kept."""
