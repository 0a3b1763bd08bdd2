"""PyTorch's own records of how its operators, modules and optimizers are called, run through both frameworks."""
