"""Runs an example in a process of its own and reads what it prints; makes small data in the formats that they read."""

import gzip
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
COMMANDS = {"facula": ("-m", "facula", "run"), "torch": ()}  # before the program's name
GROUPS = {
    "comp.graphics": "pixel render image",
    "sci.space": "orbit launch moon",
    "rec.sport.baseball": "pitch bat inning",
}


def run(program: str | Path, *arguments: object, framework: str = "facula", timeout: float = 600) -> str:
    """What `program` (an example's name, or a file) prints; an error, with its stderr, where it fails."""
    file = ROOT / "examples" / program if isinstance(program, str) else program
    done = subprocess.run(
        [sys.executable, *COMMANDS[framework], str(file), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
    )
    if done.returncode or "Traceback" in done.stderr:
        raise AssertionError(f"{file.name} under {framework} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def losses(printed: str) -> list[tuple[str, float]]:
    """Every printed loss with what stands before it: ("adam epoch 3", 565.1)."""
    found = re.findall(r"^(.*epoch \d+.*?) loss (\S+)", printed, re.MULTILINE)
    return [(label, float(loss)) for label, loss in found]


def number(printed: str, before: str) -> float:
    """The last number that follows the text `before`."""
    return float(re.findall(re.escape(before) + r"\s*(-?[\d.]+)", printed)[-1])


def newsgroups_archive(file: Path, train: int = 60, test: int = 20) -> Path:
    """An archive like 20news-bydate: texts of common words, and now and then one that only their group uses."""
    random = np.random.RandomState(0)
    common = [f"word{i}" for i in range(200)]
    with tarfile.open(file, "w:gz") as archive:
        for subset, count in (("train", train), ("test", test)):
            for group, own in GROUPS.items():
                for i in range(count):
                    words = [*random.choice(common, 40), *random.choice(own.split(), 4)]
                    random.shuffle(words)
                    text = f"From: someone\xe9\nSubject: {words[0]}\n\n{' '.join(words)}\n".encode("latin-1")
                    entry = tarfile.TarInfo(f"20news-bydate-{subset}/{group}/{i}")
                    entry.size = len(text)
                    archive.addfile(entry, io.BytesIO(text))
    return file


def idx_folder(folder: Path, count: int = 1500) -> Path:
    """A folder like MNIST's: ten patterns of 28x28 under noise, as zipped idx files."""
    random = np.random.RandomState(0)
    patterns = random.randint(0, 2, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2) * 160
    labels = random.randint(0, 10, count).astype(np.uint8)
    images = (patterns[labels] + random.randint(0, 96, (count, 28, 28))).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
        (folder / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def text_file(file: Path) -> Path:
    """Lines of different lengths with something to learn in them."""
    random = np.random.RandomState(0)
    lines = ("".join(random.choice(["ab", "cd", "ef "], random.randint(2, 12))) for _ in range(200))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def data(name: str, real: str | None, scratch: Path) -> Path:
    """The file or folder that the example `name` reads: real where a folder of real data is given."""
    made = {"newsgroups.py": "20news-bydate.tar.gz", "mnist_cnn.py": "mnist", "char_rnn.py": "tinyshakespeare.txt"}
    makers = {"newsgroups.py": newsgroups_archive, "mnist_cnn.py": idx_folder, "char_rnn.py": text_file}
    return Path(real) / made[name] if real else makers[name](scratch / made[name])
