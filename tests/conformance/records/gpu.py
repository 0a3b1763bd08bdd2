"""What PyTorch and facula do on one GPU: seeded random numbers bit for bit, memory in use, tensors handed over.

python -m tests.conformance.records.gpu          needs a PyTorch for CUDA; any version 2
python -m tests.conformance.records.gpu --cpu    the same on the CPU: whether this program itself is right

Prints what differs; ends with 1 where something does.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import facula

FLOATS, WHOLE = ("float32", "float64", "float16", "bfloat16"), ("int64", "int32", "uint8")
SIZES = ((1,), (1000,), (777, 1031), (3_000_001,))


def draws() -> Iterator[tuple[str, Callable[[Any, str], Any]]]:
    """Names, and functions of a framework and a device."""
    for size in SIZES:
        for kind in FLOATS:
            for name in ("rand", "randn"):
                yield (
                    f"{name} {size} {kind}",
                    lambda f, d, n=name, s=size, k=kind: getattr(f, n)(s, dtype=getattr(f, k), device=d),
                )
            for name, given in (
                ("normal_", (1.5, 2.0)), ("uniform_", (-1.0, 3.0)), ("exponential_", (0.5,)), ("log_normal_", ()),
                ("cauchy_", ()), ("geometric_", (0.25,)), ("bernoulli_", (0.3,)), ("random_", ()),
            ):  # fmt: skip
                yield (
                    f"{name}{given} {size} {kind}",
                    lambda f, d, n=name, g=given, s=size, k=kind: getattr(f.empty(s, dtype=getattr(f, k), device=d), n)(
                        *g
                    ),
                )
            yield (
                f"dropout {size} {kind}",
                lambda f, d, s=size, k=kind: f.nn.functional.dropout(f.ones(s, dtype=getattr(f, k), device=d), 0.3),
            )
            yield (
                f"bernoulli {size} {kind}",
                lambda f, d, s=size, k=kind: f.bernoulli(f.full(s, 0.3, dtype=getattr(f, k), device=d)),
            )
        for kind in WHOLE:
            for low, high in ((0, 10), (-5, 100), (0, 1 << 31)):
                if kind == "int64" or (high < 256 and (low == 0 or kind == "int32")):
                    yield (
                        f"randint {low} to {high} {size} {kind}",
                        lambda f, d, a=low, b=high, s=size, k=kind: f.randint(a, b, s, dtype=getattr(f, k), device=d),
                    )
        count = int(np.prod(size))
        yield f"randperm {count}", lambda f, d, n=count: f.randperm(n, device=d)
        yield (
            f"multinomial {size}",
            lambda f, d, n=count: f.multinomial(f.arange(1, 40, device=d).float(), min(n, 10_000), True),
        )
        yield f"poisson {size}", lambda f, d, s=size: f.poisson(f.full(s, 3.0, device=d))
        yield (
            f"gamma {size}",
            lambda f, d, s=size: f.distributions.Gamma(f.full(s, 1.5, device=d), f.ones((), device=d)).sample(),
        )


def bits(x: Any) -> np.ndarray:
    """A tensor's elements as whole numbers of their size."""
    found = x.detach().cpu().contiguous()
    number = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}[found.element_size()]
    return found.view(getattr(torch if isinstance(found, torch.Tensor) else facula, number)).numpy()


def difference(theirs: Any, ours: Any) -> str:
    """What is said of two draws, each the numbers and what is drawn next, or an error; "" where they agree."""
    if isinstance(theirs, str) or isinstance(ours, str):
        both = isinstance(theirs, str) and isinstance(ours, str)
        return "" if both else f"fails: {theirs if isinstance(theirs, str) else ours}"
    if theirs[0].shape != ours[0].shape:
        return f"{ours[0].shape} and not {theirs[0].shape}"
    apart = np.mean(theirs[0] != ours[0])
    said = f"{apart:.2%} of the numbers differ" if apart else ""
    return said + ("" if np.array_equal(theirs[1], ours[1]) else ", and what is drawn next")


def compare_draws(device: str) -> int:
    """How many draws differ, in their numbers or in how far they move the generator."""
    bad = number = 0
    for name, draw in draws():
        found = []
        for framework in (torch, facula):
            framework.manual_seed(5)
            try:
                found.append([bits(draw(framework, device)), bits(framework.rand(3, device=device))])
            except Exception as error:
                found.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        number += 1
        if said := difference(*found):
            bad += 1
            print(f"{name}: {said}", flush=True)
    print(f"{number} draws, {bad} differ")
    return bad


def compare_memory() -> int:
    """How many sizes take other memory than in PyTorch."""
    bad = 0
    for size in (1, 512, 513, 1 << 20, (1 << 20) + 1, 3_000_000, 12 << 20):
        found = []
        for framework in (torch, facula):
            before = framework.cuda.memory_allocated(), framework.cuda.memory_reserved()
            held = [framework.empty(size, dtype=framework.uint8, device="cuda") for _ in range(3)]
            after = framework.cuda.memory_allocated(), framework.cuda.memory_reserved()
            found.append(tuple(b - a for a, b in zip(before, after)))
            del held
            framework.cuda.empty_cache()
        if found[0] != found[1]:
            bad += 1
            print(f"3 x {size} bytes: in use and reserved are {found[1]}, in PyTorch {found[0]}")
    return bad


def compare_exchange(device: str) -> int:
    """Whether tensors that are handed over have the other's values, and share their memory."""
    bad = 0
    for first, second in ((torch, facula), (facula, torch)):
        for size in (5, 1_000_000):
            for _ in range(3):
                given = first.arange(size, device=device) * 3
                taken = second.from_dlpack(given)
                doubled = taken * 2
                taken += 1
                good = np.array_equal(doubled.cpu().numpy(), np.arange(size) * 6)
                good &= np.array_equal(given.cpu().numpy(), np.arange(size) * 3 + 1)
                bad += not good
    print(f"tensors that are handed over: {bad} differ")
    return bad


def main(arguments: list[str]) -> int:
    device = "cpu" if "--cpu" in arguments else "cuda"
    if device == "cuda":
        lacking = [f.__name__ for f in (torch, facula) if not f.cuda.is_available()]
        if lacking:
            print(f"no GPU for {' and '.join(lacking)}")
            return 1
    print(f"PyTorch {torch.__version__}")
    bad = compare_exchange(device) + compare_draws(device)
    return bad + (compare_memory() if device == "cuda" else 0)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
