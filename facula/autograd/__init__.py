"""Gradients: the graph's nodes, the engine that runs backward, the modes, custom functions."""
