"""Generated texts are the same in every process, so that the cache on disk finds what an earlier one compiled."""

import os
import subprocess
import sys

PROGRAM = """
import facula as torch
from facula.native import jit
nn, F = torch.nn, torch.nn.functional
torch.manual_seed(0)
x = torch.randn(2, 4, 16, 16, requires_grad=True)
for layer in (nn.Conv2d(4, 8, 3), nn.Conv2d(4, 4, 3, groups=4), nn.ConvTranspose2d(4, 8, 4, stride=2), nn.MaxPool2d(2)):
    layer(x).sum().backward()
nn.Conv2d(64, 64, 3)(torch.randn(16, 64, 4, 4)).sum().backward()
nn.BatchNorm2d(4)(x).sum().backward()
nn.LSTM(4, 8)(torch.randn(5, 2, 4))[0].sum().backward()
q = torch.randn(1, 2, 8, 16, requires_grad=True)
F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
F.cross_entropy(F.dropout(F.gelu(nn.Linear(8, 8)(torch.randn(4, 8)))), torch.randint(8, (4,))).backward()
F.embedding_bag(torch.randint(9, (3, 4)), torch.randn(9, 4, requires_grad=True)).sum().backward()
y = torch.randn(6, 40)
y.sort(1), y.topk(3), y.cumsum(1), y[y > 0], y.std(1), torch.searchsorted(y.sort(1)[0], y)
y.bfloat16() @ y.bfloat16().t()
print(jit.statistics()["compiled"])
"""


def test_a_second_process_compiles_nothing(tmp_path):
    compiled = []
    for seed in "1", "2":  # of Python's hashes: what is made from sets would come in another order
        environment = {**os.environ, "FACULA_CACHE_DIR": str(tmp_path), "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        compiled.append(int(done.stdout.split()[-1]))
    assert compiled[0] > 50 and compiled[1] == 0
