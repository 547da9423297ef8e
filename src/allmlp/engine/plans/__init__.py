"""How a folded model is computed fast on a CPU with torch's own oneDNN operators: one file per family."""
