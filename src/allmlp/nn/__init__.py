"""Pure tensor parts: no files, no model names, no devices."""
