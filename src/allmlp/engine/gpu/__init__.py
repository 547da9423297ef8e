"""How a folded model is computed fast on a GPU: plans by family, the operations they are made of, and CUDA graphs."""
