"""Anomaly detection: NaN in backward is an error. (The forward line is in every backward error, with or without it.)"""

import warnings

from .engine import ANOMALY

__all__ = [
    "detect_anomaly",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "set_anomaly_enabled",
    "set_detect_anomaly",
]


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on."""
    return ANOMALY.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly detection looks for NaN."""
    return ANOMALY.check_nan


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switch anomaly detection."""
    ANOMALY.enabled, ANOMALY.check_nan = bool(mode), bool(check_nan)


class set_detect_anomaly:
    """Switch anomaly detection: at once, and back at the end of a `with` block."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.before = ANOMALY.enabled, ANOMALY.check_nan
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self):
        return None

    def __exit__(self, *_):
        set_anomaly_enabled(*self.before)


class detect_anomaly:
    """In this block a NaN made by a gradient formula is an error that names the operation and its forward line.

    Examples
    --------
    >>> import facula as torch
    >>> x = torch.tensor(-1.0, requires_grad=True)
    >>> with torch.autograd.detect_anomaly():
    ...     try:
    ...         x.sqrt().backward()
    ...     except RuntimeError as error:
    ...         print(error)
    Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            UserWarning,
            stacklevel=2,
        )

    def __enter__(self):
        self.before = ANOMALY.enabled, ANOMALY.check_nan
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *_):
        set_anomaly_enabled(*self.before)
