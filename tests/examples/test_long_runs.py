"""Whole programs that go on for long, use several threads or processes, or end at awkward moments."""

import pytest

from tests.examples.running import run


def program(tmp_path, text, *arguments):
    file = tmp_path / "program.py"
    file.write_text(text)
    return run(file, *arguments, timeout=120)


CHAIN = """
import torch

x = torch.ones(3, requires_grad=True)
y = x
for _ in range(100_000):
    y = y + 1
y.sum().backward()
print(x.grad.tolist(), y[0].item())

y = x
for _ in range(100_000):
    y = y * 1.0
del y  # a graph that is dropped, never walked
print("dropped")
"""


def test_a_chain_of_100_000_operations_runs_backward(tmp_path):
    assert program(tmp_path, CHAIN) == "[1.0, 1.0, 1.0] 100001.0\ndropped\n"


MEMORY = """
import gc
import torch
from torch import nn

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
x, y = torch.randn(32, 64), torch.randint(10, (32,))
for step in range(1, 11_001):
    optimizer.zero_grad()
    loss = criterion(model(x[: 16 + step % 17]), y[: 16 + step % 17])
    loss.backward()
    optimizer.step()
    if step == 1000:
        before, objects = resident(), len(gc.get_objects())
print("bytes", resident() - before, "objects", len(gc.get_objects()) - objects)
"""


def test_ten_thousand_steps_do_not_grow_memory(tmp_path):
    _, grown, _, objects = program(tmp_path, MEMORY).split()
    assert int(grown) < 4 << 20  # 10,000 leaked tensors of 32x128 would be 160 MiB
    assert int(objects) < 500


THREADS = """
import hashlib, sys
import torch
from torch import nn

torch.set_num_threads(int(sys.argv[1]))
assert torch.get_num_threads() == int(sys.argv[1])
torch.manual_seed(0)
bits = hashlib.sha256()

def note(*tensors):
    for tensor in tensors:
        bits.update(tensor.detach().contiguous().numpy().tobytes())

x = torch.randn(1000, 1003)
note(x, x.sum(), x.sum(0), x.mean(1), x.var(), x.std(0), x.softmax(1), x.cumsum(1), x.exp(), x.norm(), x.prod(1))
square = x[:, :1000]
note(square @ x, x[:3] @ x.t(), x.t() @ x, torch.bmm(square.reshape(10, 100, 1000), square.reshape(10, 1000, 100)))
model = nn.Sequential(nn.Linear(1003, 256), nn.ReLU(), nn.LayerNorm(256), nn.Dropout(0.3), nn.Linear(256, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
y = torch.randint(10, (1000,))
for _ in range(5):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    note(loss)
note(*model.parameters())
print(bits.hexdigest())
"""


def test_results_have_the_same_bits_with_1_2_and_4_threads(tmp_path):
    digests = {program(tmp_path, THREADS, count) for count in (1, 2, 4)}
    assert len(digests) == 1


FORK = """
import os, sys
import torch

a = torch.arange(600 * 600, dtype=torch.float32).reshape(600, 600) / 1e5
expected = ((a @ a).sum() + a.exp().sum()).item()  # the workers are awake before the fork
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        again = ((a @ a).sum() + a.exp().sum()).item()
        w = a[0].clone().requires_grad_()
        (w * w).sum().backward()
        sys.exit(0 if again == expected and torch.equal(w.grad, 2 * a[0]) else 3)
    children.append(child)
for child in children:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(((a @ a).sum() + a.exp().sum()).item() == expected)
"""


def test_forked_children_compute(tmp_path):
    assert program(tmp_path, FORK).split() == ["0", "0", "0", "True"]


PYTHON_THREADS = """
import threading
import torch
from torch import nn

def train(seed, into):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(size, generator=generator).mul_(0.1).requires_grad_() for size in ((50, 40), (40, 10))]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    x = torch.randn(64, 50, generator=generator)
    y = torch.randint(10, (64,), generator=generator)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(torch.relu(x @ weights[0]) @ weights[1], y)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            assert not (x @ weights[0]).requires_grad
    into[seed] = [weight.detach() for weight in weights]

alone, together = {}, {}
for seed in range(4):
    train(seed, alone)
threads = [threading.Thread(target=train, args=(seed, together)) for seed in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(all(torch.equal(a, b) for seed in range(4) for a, b in zip(alone[seed], together[seed])))
"""


def test_models_in_several_python_threads_do_not_disturb_each_other(tmp_path):
    assert program(tmp_path, PYTHON_THREADS) == "True\n"


ENDINGS = {
    "at exit": """
import atexit
import torch
x = torch.randn(1000, 1000)
atexit.register(lambda: print((x @ x).shape == x.shape))
kept = (x * 2).requires_grad_().exp().sum()
""",
    "daemon thread": """
import threading, time
import torch
x = torch.randn(700, 700)
def forever():
    while True:
        x @ x
        x.exp()
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.3)
print(True)
""",
    "in a cycle": """
import torch
class Node:
    def __del__(self):
        self.values.sum()
node = Node()
node.itself = node
node.values = torch.ones(100_000, requires_grad=True).exp()
node.values.sum()  # compiled while Python is whole: at its end there is no reading and writing of files any more
print(True)
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_exits_cleanly(tmp_path, ending):
    assert program(tmp_path, ENDINGS[ending]) == "True\n"
