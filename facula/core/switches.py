"""What programs ask of the libraries that targets call: `torch.backends` and its kin set it, targets read it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Switches", "attention", "cudnn", "program", "transformer"]


class Switches:
    """Values by name; whoever keeps what depends on them is told when one changes.

    >>> some, told = Switches(enabled=True), []
    >>> some.when_changed(lambda: told.append(some.enabled))
    >>> some.enabled = False
    >>> some.enabled = False
    >>> told
    [False]
    """

    def __init__(self, **values: Any):
        self.__dict__.update(values, _told=[])

    def __getattr__(self, name: str) -> Any:  # for type checkers: values lie in __dict__
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__[name] != value:
            self.__dict__[name] = value
            for tell in self._told:
                tell()

    @contextmanager
    def within(self, **values: Any) -> Iterator[None]:
        """These values for the time of a block."""
        before = {name: self.__dict__[name] for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def when_changed(self, tell: Callable[[], Any]) -> None:
        """Call this after every change."""
        self._told.append(tell)


cudnn = Switches(enabled=True, benchmark=False, benchmark_limit=10, deterministic=False, depthwise_kernel="auto")
program = Switches(deterministic=False)  # `torch.use_deterministic_algorithms`
transformer = Switches(fastpath=True)  # `torch.backends.mha`
# Which ways attention may be computed in, and which is taken where several can do it.
attention = Switches(
    flash=True, mem_efficient=True, math=True, cudnn=True, order=("cudnn", "flash", "mem_efficient", "math")
)
