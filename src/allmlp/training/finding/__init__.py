"""What a recipe leaves to the machine and the images: a good learning rate, and the largest batch that fits."""
