"""`torch.nn.parallel`: models on several GPUs of one process; without GPUs a model is called as it is."""

from typing import Any, NoReturn

from facula import cuda
from facula.core.tensor import Tensor
from facula.errors import fail

from ..module import Module

__all__ = [
    "DataParallel",
    "DistributedDataParallel",
    "data_parallel",
    "gather",
    "parallel_apply",
    "replicate",
    "scatter",
]


def _not_yet(name: str) -> NoReturn:
    fail(
        NotImplementedError,
        f"{name}: facula computes on one device in a process",
        mend="call the module itself",
    )


class DataParallel(Module):
    """A batch shared among GPUs; on machines without any, `module` itself.

    Parameters
    ----------
    module : Module
    device_ids : list of int or device, optional
        The GPUs; all unless given.
    output_device : int or device, optional
    dim : int
        Along which batches are cut.
    """

    def __init__(self, module: Module, device_ids=None, output_device=None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []
        if not cuda.is_available():
            return
        ids = [0] if device_ids is None else list(device_ids)
        if len(ids) > 1:
            _not_yet("DataParallel")
        self.dim = dim
        self.device_ids = ids
        self.output_device = ids[0] if output_device is None else output_device
        self.module.to(ids[0] if isinstance(ids[0], str) else f"cuda:{ids[0]}")

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module, inputs: Any, device_ids=None, output_device=None, dim: int = 0, module_kwargs=None
) -> Tensor:
    """`DataParallel` as a function; there must be a GPU."""
    if not cuda.is_available():
        fail(RuntimeError, "device type could not be determined")
    if device_ids is not None and len(device_ids) > 1:
        _not_yet("data_parallel")
    inputs = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return module(*inputs, **(module_kwargs or {}))


class DistributedDataParallel(Module):
    """A model on several processes; not supported yet."""

    def __init__(
        self,
        module: Module,
        device_ids=None,
        output_device=None,
        dim: int = 0,
        broadcast_buffers=None,
        init_sync: bool = True,
        process_group=None,
        bucket_cap_mb=None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        delay_all_reduce_named_params=None,
        param_to_hook_all_reduce=None,
        mixed_precision=None,
        device_mesh=None,
        skip_all_reduce_unused_params: bool = False,
        bucket_cap_mb_list=None,
        batched_grad_copy: bool = False,
        forward_sync_buffers: bool | None = None,
    ) -> None:
        super().__init__()
        _not_yet("DistributedDataParallel")


def replicate(network: Module, devices, detach: bool = False) -> list[Module]:
    """Copies of a module on several GPUs; not supported."""
    _not_yet("replicate")


def scatter(inputs: Any, target_gpus, dim: int = 0) -> Any:
    """A batch cut into one part for each GPU; not supported."""
    _not_yet("scatter")


def parallel_apply(modules, inputs, kwargs_tup=None, devices=None) -> list[Any]:
    """Modules called at the same time on several GPUs; not supported."""
    _not_yet("parallel_apply")


def gather(outputs: Any, target_device, dim: int = 0) -> Any:
    """Results of several GPUs together on one; not supported."""
    _not_yet("gather")
