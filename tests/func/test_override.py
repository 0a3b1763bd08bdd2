"""What subclasses see does not depend on what ran before them in the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import facula as torch

x = torch.ones(2, 2)
{before}
seen = []


class Logged(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {{}})


x = x.as_subclass(Logged)
x @ x, torch.matmul(x, x), x + 1, x**2, torch.nn.functional.relu(x)
print(*seen)
with torch.autocast("cpu"):
    print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
"""
AUTOCAST = """
with torch.autocast("cpu"):
    x @ x
"""
PROFILED = """
with torch.profiler.profile():
    with torch.autocast("cpu"):
        x @ x
"""


@pytest.mark.parametrize("before", ["", AUTOCAST, PROFILED], ids=["nothing", "autocast", "autocast in a profiler"])
def test_names_of_operators(before):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(before=before)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["matmul matmul add pow relu", "torch.bfloat16"], done.stderr
