"""The larger networks, as PyTorch modules that take the official checkpoints."""
