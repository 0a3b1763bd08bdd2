"""The emulator that all files share, in which a text is compiled once a session, and drivers with it."""

import pytest

from tests.targets.cuda.emulator import Emulator
from tests.targets.cuda.fake_blas import FakeBlas
from tests.targets.cuda.fake_driver import FakeDriver, installed


@pytest.fixture(scope="session")
def emulator(tmp_path_factory) -> Emulator:
    """Texts compiled so far; files that launch many name them first, to have them compiled together."""
    return Emulator(tmp_path_factory.mktemp("emulated"))


@pytest.fixture
def fake(emulator, monkeypatch):
    """A small GPU for one test."""
    with installed(FakeDriver(emulator, memory=64 << 20), monkeypatch) as found:
        yield found


@pytest.fixture(scope="module")
def gpu(emulator):
    """A GPU with cuBLASLt for all tests of a file, which is refused addresses of the host's memory."""
    made = FakeDriver(emulator, memory=1 << 30, strict=True)
    with pytest.MonkeyPatch.context() as patch, installed(made, patch, FakeBlas(made)):
        yield made
