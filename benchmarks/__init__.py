"""Facula and PyTorch side by side: rows say what is measured, `harness.py` how, `__main__.py` prints the table."""
