"""Triton kernels for GPUs: importing a file of this folder needs Triton, and nothing outside `gpu/kit.py` does it."""
