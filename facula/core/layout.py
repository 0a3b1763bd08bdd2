"""How the elements of tensors are stored: all of them in strides, or some with their places."""

__all__ = ["layout", "sparse_coo", "strided"]


class layout:
    """How the elements of a tensor are stored, as `torch.layout`."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return self.name  # pickled by its name in this module


strided, sparse_coo = layout("strided"), layout("sparse_coo")
