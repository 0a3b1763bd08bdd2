"""The tests: they mirror `facula/`; `conformance/` compares with real PyTorch and runs only where it is named."""
