"""Rows for memory: what training holds at its highest, each framework in processes of its own."""

import json
from collections.abc import Callable

from .harness import Result, fill
from .startup import fresh

__all__ = ["MEMORY"]

STEPS = 5
GPT = "GPT, 4 layers of 128"
TRAIN = f"""
import importlib, json, sys
from benchmarks import training
from benchmarks.harness import ROWS

def highest():  # not getrusage: its ru_maxrss is also that of the process which started this one
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

torch = importlib.import_module(sys.argv[1])
torch.manual_seed(0)
one = next(row for row in ROWS if row.name.startswith({GPT!r}))
before = highest()
step = one.make(torch)
for _ in range({STEPS}):
    step()
figures = {{"growth": highest() - before}}
if hasattr(torch, "memory_stats"):
    figures["allocated"] = torch.memory_stats()["allocated_bytes.all.peak"]
print(json.dumps(figures))
"""


def train(name: str) -> dict[str, float]:
    """Growth of the process's resident memory while it sets up and trains, and what the framework itself counts."""
    return json.loads(fresh("-c", TRAIN, name))


def gpt(baseline: str, candidate: str) -> Result:
    result = Result("memory", f"peak training {GPT}", 1.0, unit="B")
    own: list[float] = []

    def grown() -> float:
        figures = train(candidate)
        own.append(figures.get("allocated", 0.0))
        return figures["growth"]

    train(candidate)  # compile; compiling takes memory, once a machine
    own.clear()
    fill(result, lambda: train(baseline)["growth"], grown, budget=0, pairs=(5, 5))
    if any(own):
        result.notes["most bytes of tensors at once"] = f"{max(own) / 1e6:.1f} MB"
    return result


MEMORY: list[tuple[str, Callable[[str, str], Result]]] = [(f"peak training {GPT}", gpt)]
