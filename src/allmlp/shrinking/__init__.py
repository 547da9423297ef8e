"""A trained model made smaller, trained a little further, and measured beside what it was."""
