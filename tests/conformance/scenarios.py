"""Small programs that run under both frameworks; what they return must agree: tensors, numbers, texts, errors."""

import re
import warnings

import numpy as np
import torch

import facula


def error(call, *args, **kwargs) -> tuple[str, str]:
    """The exception of a call and the first line of its message, without addresses."""
    try:
        call(*args, **kwargs)
    except Exception as found:
        return type(found).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(found).split("\n")[0]).strip()
    return "none", ""


def plain(x):
    """What a scenario returned as data that can be compared."""
    if isinstance(x, (torch.Tensor, facula.Tensor)):
        values = x.detach()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        return {
            "dtype": str(x.dtype),
            "shape": tuple(x.shape),
            "grad": bool(x.requires_grad),
            "values": values.numpy(force=True),
        }
    if isinstance(x, (list, tuple)):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if x is None or isinstance(x, (bool, int, float, complex, str)):
        return x
    return str(x)


def compare(ours, theirs, where: str, words: int = 60) -> None:
    """AssertionError where two results differ; texts are compared by their first `words` characters."""
    if isinstance(theirs, dict) and "values" in theirs:
        assert isinstance(ours, dict), f"{where}: {ours} for a tensor"
        for key in ("dtype", "shape", "grad"):
            assert ours[key] == theirs[key], f"{where}: {key} {ours[key]} for {theirs[key]}"
        tight = theirs["values"].dtype.itemsize >= 8
        np.testing.assert_allclose(
            ours["values"], theirs["values"], rtol=1e-9 if tight else 3e-6, atol=1e-9 if tight else 1e-6, err_msg=where
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
        assert abs(ours - theirs) <= 1e-5 * max(1, abs(theirs)) or (ours != ours and theirs != theirs), (
            f"{where}: {ours} for {theirs}"
        )
    else:
        assert type(ours) is type(theirs) and ours == theirs, f"{where}: {ours!r} for {theirs!r}"


def both(scenario, *args) -> None:
    """Run a scenario under both frameworks and compare what it returns."""
    found = []
    for framework in (facula, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            framework.manual_seed(3)
            found.append(plain(scenario(framework, *args)))
    compare(*found, scenario.__name__)
