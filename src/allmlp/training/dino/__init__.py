"""Learning without labels: DINO (Caron et al., 2021)."""
