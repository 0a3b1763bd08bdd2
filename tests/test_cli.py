"""`facula run` beside `python`: same output, same errors, same exit status; children run under facula too."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parent.parent)

FILES = {
    "err.py": "import sys\ndef f():\n    raise ValueError('bad')\n"
    "print(sys.argv, sys.path[0], __name__, __file__, __spec__, __package__)\nf()\n",
    "exit3.py": "import sys; print('out'); sys.exit(3)",
    "exit_text.py": "import sys; sys.exit('words')",
    "exit_none.py": "raise SystemExit",
    "syntax.py": "print('never')\nx = = 1\n",
    "interrupt.py": "raise KeyboardInterrupt",
    "hook.py": "import sys; sys.excepthook = lambda *a: print('hook', a[0]); 1 / 0",
    "chained.py": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e\n",
    "last.py": "import atexit, threading, time\natexit.register(lambda: print('atexit'))\n"
    "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\n1 / 0\n",
    "imports.py": "import helper; print(helper.__file__, vars(helper)['__name__'])",
    "helper.py": "import __main__; print(__main__.__file__)",
    "pickles.py": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__module__)",
    "nonascii é.py": "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n1/0",
    "package/__init__.py": "",
    "package/__main__.py": "import sys; print(sys.argv, sys.path[0], __name__, __package__, __spec__.name); 1 / 0",
    "package/inner.py": "from . import __name__ as n; print(n, __name__); raise SystemExit(4)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode("latin-1" if "latin" in text else "utf-8"))
    with zipfile.ZipFile(folder / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", "import sys; print(sys.argv, sys.path[0]); 1 / 0")
    (folder / "link.py").symlink_to(folder / "package" / "inner.py")
    return folder


def run(*words: str, folder, text: str | None = None, python=(), **environment: str):
    """The finished process."""
    path = os.pathsep.join(filter(None, [environment.pop("PYTHONPATH", ""), ROOT]))
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FACULA_ALIAS")}
    environ |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | environment
    return subprocess.run(
        [sys.executable, *python, *words],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
    )


def facula(*words: str, **options):
    return run("-m", "facula", "run", *words, **options)


CASES = [
    ["err.py", "a", "-b", "--c=1", "-m", "x"], ["exit3.py"], ["exit_text.py"], ["exit_none.py"], ["syntax.py"],
    ["interrupt.py"],
    ["hook.py"], ["chained.py"], ["last.py"], ["imports.py"], ["pickles.py"], ["nonascii é.py"], ["missing.py"],
    ["link.py"],
    ["package", "b"], ["archive.pyz", "c"], ["-m", "package", "a", "-x"], ["-m", "package.inner", "-m"],
    ["-m", "nothing"],
    ["-c", "import sys; print(sys.argv, sys.path[0]); 1 / 0", "-v", "q"],
]  # fmt: skip


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_as_python(words, folder):
    ours, theirs = facula(*words, folder=folder), run(*words, folder=folder)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


def test_program_from_stdin(folder):
    text = "import sys; print(sys.argv, sys.path[0], __name__)\n1 / 0\n"
    ours, theirs = (call("-", "a", "-b", folder=folder, text=text) for call in (facula, run))
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == 1 and "ZeroDivisionError" in ours.stderr


def test_safe_path(folder):
    result = run("-P", "-m", "facula", "run", "-c", "import sys; print('' in sys.path)", folder=folder)
    assert result.stdout == "False\n" and result.returncode == 0


SHOW = "import torch.utils.data, sys; print(torch.utils.data.__name__, sys.modules['torch'].__name__)"


def test_torch_is_facula(folder):
    result = facula("-c", SHOW, folder=folder)
    assert (result.stdout, result.stderr) == ("facula.utils.data facula\n", "")


PARENT = """
import multiprocessing, subprocess, sys

SHOW = {show!r}

def child(queue):
    import torch.utils.data
    queue.put(torch.utils.data.__name__)

def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

if __name__ == "__main__":
    print(run(SHOW))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=30))
    process.join()
    print(run("import subprocess, sys; subprocess.run([sys.executable, '-c', " + repr(SHOW) + "], check=True)"))
"""


def test_the_first_nan(folder):
    (folder / "nan.py").write_text(
        "import torch\n"
        "model = torch.nn.Linear(2, 2)\n"
        "for step in range(3):\n"
        "    loss = (model(torch.ones(1, 2)) - model(torch.ones(1, 2))).sqrt().sum()\n"
        "    loss.backward()\n"
    )
    found = facula("--nan", "nan.py", folder=folder)
    assert found.returncode == 1
    assert "NotFinite: backward of sqrt made inf" in found.stderr and "nan.py:4: loss = " in found.stderr


def test_children(folder, tmp_path):
    """A subprocess, a spawned process, and the subprocess of a subprocess."""
    (tmp_path / "parent.py").write_text(PARENT.format(show=SHOW))
    result = facula(str(tmp_path / "parent.py"), folder=folder)
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["facula.utils.data facula", "facula.utils.data", "facula.utils.data facula"]


def test_children_pay_nothing_and_see_nothing(folder):
    """A child that wants no torch imports no facula and finds the path as it would be."""
    child = (
        "import sys; print([m for m in sys.modules if m.startswith('facula')], [p for p in sys.path if 'aliased' in p])"
    )
    result = facula(
        "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)", folder=folder
    )
    assert result.stdout == "[] []\n"


def test_other_sitecustomize(folder, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.custom = __file__")
    child = f"import sys; print(sys.custom); {SHOW}"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    result = facula("-c", code, folder=folder, PYTHONPATH=str(tmp_path))
    assert result.stdout.split() == [str(tmp_path / "sitecustomize.py"), "facula.utils.data", "facula"]


def test_missing_things(folder):
    result = facula("-c", "import torch.utils.dat", folder=folder)
    assert result.returncode == 1
    assert "ModuleNotFoundError: No module named 'torch.utils.dat'" in result.stderr
    assert "facula has no torch.utils.dat\n  nearest: torch.utils.data" in result.stderr
    result = facula("-c", "try:\n    import torch.core\nexcept ImportError as e:\n    print(e.name)", folder=folder)
    assert result.stdout == "torch.core\n"


def test_command_line(folder):
    assert run("-m", "facula", "--version", folder=folder).stdout.startswith("facula ")
    nothing = facula(folder=folder)
    assert nothing.returncode == 2 and "give a script, -, -m MODULE or -c CODE" in nothing.stderr
    assert run("-m", "facula", "dance", folder=folder).returncode == 2
    assert "SCRIPT" in facula("-h", folder=folder).stdout
