"""Small programs that run under either framework; what they return must agree: tensors, numbers, texts, errors.

Their results under PyTorch are recorded in `tests/data/scenarios.json` (`python -m tests.conformance.record`), so
that the plain tests need no PyTorch; the conformance tests run both side by side.
"""

import json
import re
import warnings
from pathlib import Path

import numpy as np

RECORDS = Path(__file__).parent / "data" / "scenarios.json"


def error(call, *args, **kwargs) -> tuple[str, str]:
    """The exception of a call and the first line of its message, without addresses."""
    try:
        call(*args, **kwargs)
    except Exception as found:
        return type(found).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(found).split("\n")[0]).strip()
    return "none", ""


def plain(x):
    """What a scenario returned as data that can be compared, and written as JSON."""
    if hasattr(x, "requires_grad") and hasattr(x, "detach"):
        values = x.detach()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        array = values.numpy(force=True)
        parts = np.ascontiguousarray(array).reshape(-1)
        parts = parts.view(parts.real.dtype) if parts.dtype.kind == "c" else parts
        return {"dtype": str(x.dtype), "shape": list(x.shape), "grad": bool(x.requires_grad), "values": parts.tolist()}
    if isinstance(x, (list, tuple)):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    return str(x)


def run(scenario, framework, *args):
    """The plain result of a scenario under one framework."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        framework.manual_seed(3)
        return plain(scenario(framework, *args))


def compare(ours, theirs, where: str, words: int = 60) -> None:
    """AssertionError where two results differ; texts are compared by their first `words` characters."""
    if isinstance(theirs, dict) and "values" in theirs:
        assert isinstance(ours, dict), f"{where}: {ours} for a tensor"
        for key in ("dtype", "shape", "grad"):
            assert ours[key] == theirs[key], f"{where}: {key} {ours[key]} for {theirs[key]}"
        tight = theirs["dtype"] in ("torch.float64", "torch.complex128")
        np.testing.assert_allclose(
            np.array(ours["values"], float),
            np.array(theirs["values"], float),
            rtol=1e-9 if tight else 3e-6,
            atol=1e-9 if tight else 1e-6,
            err_msg=where,
        )
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            compare(ours[key], theirs[key], f"{where}.{key}", words)
    elif isinstance(theirs, list):
        assert isinstance(ours, list) and len(ours) == len(theirs), f"{where}: {ours} for {theirs}"
        for n, (x, y) in enumerate(zip(ours, theirs)):
            compare(x, y, f"{where}[{n}]", words)
    elif isinstance(theirs, str):
        assert isinstance(ours, str) and ours[:words] == theirs[:words], f"{where}: {ours!r} for {theirs!r}"
    elif isinstance(theirs, float):
        same = ours != ours and theirs != theirs
        assert same or abs(ours - theirs) <= 1e-5 * max(1, abs(theirs)), f"{where}: {ours} for {theirs}"
    else:
        assert type(ours) is type(theirs) and ours == theirs, f"{where}: {ours!r} for {theirs!r}"


def recorded(group: str) -> dict:
    """The results of a group of scenarios under PyTorch, by name."""
    return json.loads(RECORDS.read_text())[group]
