"""What calls on 'cuda' cost Python: `python -m tests.targets.cuda.launches` prints microseconds, smallest of several.

Without a GPU the driver is a fake whose cuLaunchKernel is a function of machine code that does nothing; `--cpu` prints
the same calls on the CPU, for comparison. With a GPU these are the real driver's, launches included.
"""

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import Any

import facula as torch
from facula.native import jit
from facula.targets.cuda import driver, functions
from tests.targets.cuda.fake_driver import FakeDriver


class Idle(FakeDriver):
    """Starts nothing, and keeps no record."""

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)

    def cuModuleLoadData(self, code):
        return 0, code

    def cuModuleGetFunction(self, module, name):
        return 0, 1

    def cuGetProcAddress(self, name, version, flags):
        return 0, jit.load("define i32 @idle() { ret i32 0 }", ["idle"])["idle"], 0


def best(call: Callable[[], object], rounds: int = 40, calls: int = 200) -> float:
    """Microseconds."""
    found = []
    for _ in range(rounds + 1):
        begin = perf_counter()
        for _ in range(calls):
            call()
        found.append((perf_counter() - begin) / calls * 1e6)
    return min(found[1:])


def calls(where: str) -> dict[str, Callable[[], object]]:
    """What is measured."""
    a, b, g = (torch.ones(4, device=where) for _ in range(3))
    g.requires_grad_()
    large, x = torch.ones(1 << 20, device=where), torch.ones(2, 4, device=where)
    linear = torch.nn.Linear(4, 4).to(where)
    table, index = torch.nn.Embedding(10, 4).to(where), torch.zeros(3, dtype=torch.int64, device=where)
    return {
        "empty(4)": lambda: torch.empty(4, device=where),
        "a + b": lambda: a + b,
        "a + b, recorded": lambda: g + b,
        "a.add_(b)": lambda: a.add_(b),
        "a.relu()": lambda: a.relu(),
        "a.softmax(0)": lambda: a.softmax(0),
        "cat([a, b])": lambda: torch.cat([a, b]),
        "4 MiB + 4 MiB": lambda: large + large,
        "sum of 4 MiB": lambda: large.sum(),
        "Linear(4, 4)": lambda: linear(x),
        "Embedding(10, 4)": lambda: table(index),
        "(g * b).sum().backward()": lambda: (g * b).sum().backward(),
    }


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="on the CPU")
    where = "cpu" if parser.parse_args().cpu else "cuda"
    if where == "cuda" and not torch.cuda.is_available():
        functions.machine_code = lambda p, gpu: b""
        driver.use(Idle())
    for name, call in calls(where).items():
        print(f"{name:26}{best(call):8.2f} us", flush=True)


if __name__ == "__main__":
    main()
