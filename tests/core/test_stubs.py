"""What is written out for editors and type checkers agrees with what `operators` attaches and declares."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "stubs"


def test_stub_of_tensor_is_current():
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_public_names_of_operators_are_the_operators():
    import facula
    from facula import operators

    shared = set(operators.__all__) & set(facula.__all__)  # PyTorch keeps some in `nn.functional` alone
    assert {"add", "matmul", "softmax", "where"} <= shared and len(shared) > 500
    assert all(getattr(facula, name) is getattr(operators, name) for name in shared)
