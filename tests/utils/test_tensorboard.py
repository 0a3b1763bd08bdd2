"""What `SummaryWriter` writes, seen through TensorBoard: by its data service, and in a browser where there is one."""

import json
import logging
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tensorboard import default, program

import facula as torch
from facula import nn
from facula.training import ToTensorBoard, fit
from facula.utils.tensorboard import RecordWriter, SummaryWriter

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The address of a TensorBoard that shows one run with something of everything."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    data, net = (x, (x.sum(1) > 0).long()), Net()
    with SummaryWriter(folder) as writer:
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        fit(net, data, nn.CrossEntropyLoss(), optimizer, 5, callbacks=[ToTensorBoard(writer)], progress=False)
        writer.add_graph(net, x)
        for step in range(3):
            writer.add_histogram("head/weight", net.head.weight * (step + 1), step)
        ramp = torch.linspace(0, 1, 64 * 48).reshape(1, 48, 64)
        writer.add_image("ramp", torch.cat([ramp, 1 - ramp, ramp * ramp]), 1)
        writer.add_text("words", "a **bold** one", 2)
        writer.add_hparams({"lr": 0.01}, {"hparam/accuracy": 0.9}, run_name="trial")
        writer.add_pr_curve("pr", data[1], torch.rand(64), 0)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    board = program.TensorBoard(default.get_plugins())
    board.configure(
        argv=["tensorboard", "--logdir", str(folder), "--port", "0", "--host", "127.0.0.1", "--load_fast", "false"]
    )
    return board.launch().rstrip("/")


def get(service, route, **query):
    address = f"{service}/data/plugin/{route}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def asked(service, route, **query):
    return json.loads(get(service, route, **query))


def test_scalars(service):
    tags = asked(service, "scalars/tags")
    assert set(tags["."]) == {"loss", "lr", "seconds"} and "hparam/accuracy" in tags["trial"]
    points = asked(service, "scalars/scalars", tag="loss", run=".")
    assert [step for _, step, _ in points] == [1, 2, 3, 4, 5]
    assert points[-1][2] < points[0][2]


def test_histograms(service):
    assert "head/weight" in asked(service, "histograms/tags")["."]
    found = asked(service, "histograms/histograms", tag="head/weight", run=".")
    assert [entry[1] for entry in found] == [0, 1, 2]
    assert all(sum(count for _, _, count in buckets) == 16 for _, _, buckets in found)


def test_images(service):
    from io import BytesIO

    from PIL import Image

    assert "ramp" in asked(service, "images/tags")["."]
    (entry,) = asked(service, "images/images", tag="ramp", run=".", sample="0")
    pixels = np.asarray(Image.open(BytesIO(get(service, f"images/individualImage?{entry['query']}"))))
    assert pixels.shape == (48, 64, 3) and pixels[0, 0].tolist() == [0, 255, 0]


def test_graph(service):
    assert asked(service, "graphs/info")["."]["run_graph"]
    text = get(service, "graphs/graph", run=".").decode()
    assert '"Net/Sequential[body]/Linear[0]/linear"' in text and '"aten::linear"' in text
    assert '"input/x"' in text and '"output/output.1"' in text


def test_texts_and_curves(service):
    assert "words/text_summary" in asked(service, "text/tags")["."]
    assert "<strong>bold</strong>" in asked(service, "text/text", tag="words/text_summary", run=".")[0]["text"]
    curve = asked(service, "pr_curves/pr_curves", tag="pr", run=".")["."][0]
    assert len(curve["precision"]) > 100


@pytest.fixture(scope="module")
def page(service, tmp_path_factory):
    """TensorBoard in a browser."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1200, "height": 900},
        )
        opened = context.new_page()
        opened.set_default_timeout(60_000)
        yield opened
        context.close()


def test_scalars_in_a_browser(page, service):
    page.goto(f"{service}/#timeseries")
    page.get_by_title("loss", exact=True).first.wait_for()
    page.locator("scalar-card line-chart").first.wait_for()


def test_images_and_histograms_in_a_browser(page, service):
    page.goto(f"{service}/#images")
    picture = page.locator("tf-image-loader img, image-card img").first
    picture.wait_for()
    assert picture.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [64, 48]
    page.goto(f"{service}/#histograms")
    areas = page.locator("tf-histogram-dashboard vz-histogram-timeseries g.histogram path")
    areas.nth(2).wait_for(state="attached")
    assert all(areas.nth(step).get_attribute("d") for step in range(3))


def test_the_graph_in_a_browser(page, service):
    page.goto(f"{service}/#graphs")
    page.locator("tf-graph-scene g.node[data-name='Net']").wait_for()
    names = [n.get_attribute("data-name") for n in page.locator("tf-graph-scene g.node").all()]
    assert sorted(names) == ["Net", "input", "output"]
    page.locator("tf-graph-scene g.node[data-name='Net'] > g.nodeshape").first.dispatch_event("dblclick")  # open it
    page.locator("tf-graph-scene g.node[data-name='Net/Sequential[body]']").wait_for()


def test_without_tensorboard_the_import_fails_as_in_pytorch():
    program = """
import sys
sys.modules["tensorboard"] = None
import facula
try:
    from facula.utils.tensorboard import SummaryWriter
except ImportError as error:
    print(error, *error.__notes__, sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert re.search(r"needs the package tensorboard\n  mend: pip install 'facula\[tensorboard\]'", done.stdout)


def test_records():
    assert RecordWriter.__name__ == "RecordWriter"
