"""IR to IR: the stages that make a kernel ready for a target."""

from .stages import STAGES, prepare

__all__ = ["STAGES", "prepare"]
