"""What calls on 'cuda' cost Python: `python -m tests.targets.cuda.launches` prints microseconds, smallest of several.

Without a GPU the driver is a fake whose cuLaunchKernel is a function of machine code that does nothing, and so are the
fakes of cuBLASLt and cuDNN; `--cpu` prints the same calls on the CPU, for comparison. With a GPU these are the real
driver's and libraries', launches included.
"""

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import Any

import facula as torch
from facula.native import jit
from facula.targets.cuda import driver, functions, nvrtc
from facula.targets.cuda.libraries import cublaslt, dnn_api
from tests.targets.cuda.fake_blas import FakeBlas
from tests.targets.cuda.fake_dnn import FakeDnn
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
        return 0, nothing(), 0

    def _copied(self, *given):
        return (0,)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = _copied


class IdleBlas(FakeBlas):
    """Multiplies nothing."""

    def address(self, name: str) -> int:
        return nothing()

    def cublasLtMatmul(self, *given):
        return 0


class IdleDnn(FakeDnn):
    """Runs no plan."""

    def address(self, name: str) -> int:
        return nothing() if name == "cudnnBackendExecute" else super().address(name)


def idling() -> None:
    """A GPU that does nothing."""
    functions.machine_code = lambda p, gpu: b""
    nvrtc.version = lambda: (13, 0)
    idle = Idle()
    driver.use(idle)
    cublaslt.use(IdleBlas(idle))
    dnn_api.use(IdleDnn(idle))


def nothing() -> int:
    """The address of a function that returns 0."""
    return jit.load("define i32 @idle() { ret i32 0 }", ["idle"])["idle"]


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
    conv, norm = torch.nn.Conv2d(8, 8, 3).to(where), torch.nn.LayerNorm(4).to(where)
    image, whole = torch.ones(2, 8, 8, 8, device=where), torch.ones(8, 8, 3, 3, dtype=torch.int32, device=where)
    image32, square = image.int(), torch.ones(4, 4, dtype=torch.int32, device=where)
    made = conv(image.clone().requires_grad_())
    wanted = made.grad_fn.saved[0], conv.weight, conv.bias  # type: ignore[union-attr]
    seed, row = torch.ones_like(made), torch.ones(2000, device=where)
    q, q16 = (torch.ones(1, 2, 64, 32, device=where).to(kind) for kind in (torch.float32, torch.bfloat16))
    to_q = q16.clone().requires_grad_()
    attended = torch.nn.functional.scaled_dot_product_attention(to_q, q16, q16)
    places, total = torch.zeros(2000, dtype=torch.int64, device=where), torch.zeros(10, device=where)
    functional = torch.nn.functional
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
        "LayerNorm(4)": lambda: norm(x),
        "Conv2d(8, 8, 3)": lambda: conv(image),
        "its three gradients": lambda: torch.autograd.grad(made, wanted, seed, retain_graph=True),
        "conv2d of int32": lambda: torch.conv2d(image32, whole),
        "product of int32": lambda: square @ square,
        "attention, bfloat16": lambda: functional.scaled_dot_product_attention(q16, q16, q16),
        "a gradient of it": lambda: torch.autograd.grad(attended, to_q, q16, retain_graph=True),
        "attention, float32": lambda: functional.scaled_dot_product_attention(q, q, q),
        "total.index_add_(2000)": lambda: total.index_add_(0, places, row),
        "row.sort()": lambda: row.sort(),
        "row.topk(3)": lambda: row.topk(3),
        "dropout(row)": lambda: functional.dropout(row),
        "row.normal_()": lambda: row.normal_(),
        "(g * b).sum().backward()": lambda: (g * b).sum().backward(),
    }


def steps(where: str) -> dict[str, Callable[[], object]]:
    """Whole training steps."""
    return {"MLP 64-128-10, Adam": mlp(where), "block of a GPT, autocast": block(where)}


def mlp(where: str) -> Callable[[], object]:
    """A batch of 32."""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(where)
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.randn(32, 64, device=where), torch.zeros(32, dtype=torch.int64, device=where)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    return step


class Block(torch.nn.Module):
    """Attention and a network after it, as in nanoGPT."""

    def __init__(self, width: int = 128, heads: int = 4):
        super().__init__()
        nn = torch.nn
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attend(self.first(x)).split(width, dim=2)
        )
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.narrow(torch.nn.functional.gelu(self.wide(self.second(x))))


def block(where: str) -> Callable[[], object]:
    """A batch of 8 texts of 32 tokens, bfloat16 by autocast, AdamW."""
    model = Block().to(where)
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randn(8, 32, 128, device=where)

    def step():
        with torch.autocast(where, dtype=torch.bfloat16):
            loss = model(x).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="on the CPU")
    where = "cpu" if parser.parse_args().cpu else "cuda"
    if where == "cuda" and not torch.cuda.is_available():
        idling()
    for name, call in calls(where).items():
        print(f"{name:26}{best(call):8.2f} us", flush=True)
    for name, call in steps(where).items():
        print(f"{name:26}{best(call, calls=20):8.2f} us", flush=True)


if __name__ == "__main__":
    main()
