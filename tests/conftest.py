"""What every test shares: the option that puts real data in the place of synthetic data, the results of the samples."""

import gc
import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun behind an `&` or by nohup: tests interrupt themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--example-data",
        metavar="FOLDER",
        help="run the examples on the real data in FOLDER (20news-bydate.tar.gz, tinyshakespeare.txt, mnist/) "
        "in place of small synthetic data in the same formats",
    )


@pytest.fixture(scope="module", autouse=True)
def what_came_before_is_kept():
    """Collections look at what the file's own tests made: of the millions of objects before, each costs a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def example_data(request):
    """The folder with real data, or None."""
    return request.config.getoption("--example-data")


@pytest.fixture(scope="session")
def machine() -> dict:
    """Results of the whole samples table by machine code."""
    from tests.operators import results

    return results.table()
