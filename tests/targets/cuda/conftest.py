"""The emulator that all files share: a text is compiled once a session."""

import pytest

from tests.targets.cuda.emulator import Emulator


@pytest.fixture(scope="session")
def emulator(tmp_path_factory) -> Emulator:
    """Texts compiled so far; files that launch many name them first, to have them compiled together."""
    return Emulator(tmp_path_factory.mktemp("emulated"))
