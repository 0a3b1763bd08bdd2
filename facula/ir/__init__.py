"""The language of kernels: scalar expressions, kernels over rows of elements, derivatives, a printer."""
