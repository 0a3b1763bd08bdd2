"""What errors say below PyTorch's message: module, operands as the program names them, where they came from, the mend.

`notes` is called when an error is raised, never before (`facula/errors.py`). `scene.py` finds out what happened where,
`values.py` describes it, `history.py` says who changed a value, `mends.py` is a
table of mends. `watching.py` finds the first NaN of a training step.
"""

import threading
import traceback as tracebacks
from types import FrameType, TracebackType

from facula.errors import lines

from .history import changes
from .mends import mend_of
from .scene import scene_of
from .values import described

__all__ = ["notes"]


class _Busy(threading.local):
    """Whether this thread is making notes: errors that come of that have none."""

    on = False


_BUSY = _Busy()


def notes(
    error: BaseException, frame: FrameType | None, traceback: TracebackType | None, expected: object, got: object,
    mend: str | None, about: object = None,
) -> list[str]:  # fmt: skip
    """The notes of an error that is being raised in `frame`, or has come up along `traceback`.

    Whatever goes wrong here must not hide the error itself: it becomes one note.
    """
    if _BUSY.on:
        return lines(expected=expected, got=got, mend=mend)
    _BUSY.on = True
    try:
        scene = scene_of(error, frame, traceback)
        found = [*described(scene), *(changes(scene, *about) if isinstance(about, tuple) else ())]
        return [*found, *lines(expected=expected, got=got, mend=mend_of(scene) or mend)]
    except Exception as mistake:
        where = tracebacks.extract_tb(mistake.__traceback__)[-1]
        text = f"  (facula could not say more: {mistake!r} at {where.filename}:{where.lineno})"
        return [*lines(expected=expected, got=got, mend=mend), text]
    finally:
        _BUSY.on = False
