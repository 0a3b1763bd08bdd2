"""Names of PyTorch's data pipes, which facula does not have: each is there, and says so when it is used."""

from typing import Any, NoReturn

from facula.errors import fail

__all__ = [
    "DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe", "argument_validation", "functional_datapipe",
    "guaranteed_datapipes_determinism", "non_deterministic", "runtime_validation", "runtime_validation_disabled",
]  # fmt: skip


def _refuse(name: str) -> NoReturn:
    fail(
        NotImplementedError,
        f"torch.utils.data.{name} is not implemented: facula has no data pipes",
        mend="make a Dataset or an IterableDataset, and give it to a DataLoader",
    )


class _NoPipe(type):
    """Classes that can be named, and asked about by isinstance, and nothing else."""

    def __call__(cls, *args, **kwargs):
        _refuse(cls.__name__)


def _class(name: str) -> Any:
    def refuse_subclass(cls, **options):
        _refuse(name)

    parts = {"__init_subclass__": classmethod(refuse_subclass), "__module__": __name__}
    return _NoPipe(name, (), {**parts, "__doc__": "Not implemented: facula has no data pipes."})


def _function(name: str) -> Any:
    def refused(*args, **kwargs):
        _refuse(name)

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = "Not implemented: facula has no data pipes."
    return refused


DFIterDataPipe = _class("DFIterDataPipe")
DataChunk = _class("DataChunk")
IterDataPipe = _class("IterDataPipe")
MapDataPipe = _class("MapDataPipe")
argument_validation = _function("argument_validation")
functional_datapipe = _function("functional_datapipe")
guaranteed_datapipes_determinism = _function("guaranteed_datapipes_determinism")
non_deterministic = _function("non_deterministic")
runtime_validation = _function("runtime_validation")
runtime_validation_disabled = _function("runtime_validation_disabled")
