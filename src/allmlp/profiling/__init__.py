"""What models cost, counted and measured side by side, next to what their papers say. `main.profile` is the door."""
