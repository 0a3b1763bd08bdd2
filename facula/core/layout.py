"""How the elements of tensors are stored: all of them in strides, or some with their places."""

__all__ = ["layout", "sparse_bsc", "sparse_bsr", "sparse_coo", "sparse_csc", "sparse_csr", "strided"]


class layout:
    """How the elements of a tensor are stored, as `torch.layout`."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return self.name  # pickled by its name in this module


strided, sparse_coo = layout("strided"), layout("sparse_coo")
# What no tensor of facula has: there to be compared with, and to be named by errors.
sparse_csr, sparse_csc = layout("sparse_csr"), layout("sparse_csc")
sparse_bsr, sparse_bsc = layout("sparse_bsr"), layout("sparse_bsc")
