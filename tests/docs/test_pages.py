"""Every example of the documentation runs and prints what its page says; the site builds without a warning."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, differences, every_page, page_folder, run_page

PAGES = [page for page in every_page() if "```" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples(page):
    text = page.read_text(encoding="utf-8")
    with page_folder() as folder:
        wrong = list(differences(run_page(text, page.name, folder)))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", "line 1"),
        ("```python\nx = 1\n```\n\n```python\nprint(x)\n```\n```text\n2\n```\n", "line 5"),
        ("```python\n1 / 0\n```\n\n```text\nnothing\n```\n", "ZeroDivisionError"),
        ("```console\n$ facula --version\ntorch 1\n```\n", "API of PyTorch"),
    ],
)
def test_wrong_pages_are_noticed(page, complaint, tmp_path):
    assert complaint in "".join(differences(run_page(page, "page", tmp_path)))


def test_examples_without_a_printed_error_must_not_fail(tmp_path):
    with pytest.raises(ZeroDivisionError):
        list(run_page("```python\n1 / 0\n```\n", "page", tmp_path))


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference():
    made = {title: text for _, title, _, text in reference().pages()}
    softmax = made["torch"].split("## softmax ")[1].split("\n## ")[0]
    assert "torch.softmax(input, dim, dtype=None, *, out=None)" in softmax
    assert ">>> torch.softmax(torch.tensor([0.0, 0.0]), dim=0)" in softmax
    linear = made["torch.nn"].split("## Linear ")[1].split("\n## ")[0]
    assert "in_features: int," in linear
    assert "\n    *,\n" in made["torch"]  # keyword-only parameters of long signatures
    assert " object at 0x" not in "".join(made.values())


def test_site(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "reference" / "torch.nn.functional" / "index.html").exists()
    assert "torch.nn.functional" in (tmp_path / "index.html").read_text(encoding="utf-8")
