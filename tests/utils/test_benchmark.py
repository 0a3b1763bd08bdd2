"""`torch.utils.benchmark`: measurements of statements."""

import pytest

import facula as torch
from facula.utils.benchmark import Compare, Timer


def test_timer_runs_what_it_says():
    counts = {"stmt": 0, "setup": 0, "threads": set()}

    def run():
        counts["stmt"] += 1
        counts["threads"].add(torch.get_num_threads())

    def prepare():
        counts["setup"] += 1

    before = torch.get_num_threads()
    timer = Timer(
        "\n    run()\n    ",
        "prepare()",
        globals={"run": run, "prepare": prepare},
        label="l",
        sub_label="s",
        description="d",
    )
    m = timer.timeit(500)
    assert counts["stmt"] == 505 and counts["setup"] == 2 and counts["threads"] == {1}
    assert (m.number_per_run, len(m.raw_times), m.stmt, m.title) == (500, 1, "run()", "l: s")
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        Timer("1 / 0", num_threads=before + 1).timeit(1)
    assert torch.get_num_threads() == before


def test_autoranges():
    x = torch.randn(10)
    seen = []
    m = Timer("x + 1", globals={"x": x}).blocked_autorange(callback=lambda *a: seen.append(a), min_run_time=0.02)
    assert len(seen) == len(m.raw_times) >= 1 and seen[0][0] == m.number_per_run >= 1
    m = Timer("torch.ones(3)").adaptive_autorange(threshold=10, min_run_time=0.001, max_run_time=0.5)
    assert len(m.raw_times) >= 1 and "ones" in repr(m) and m.median > 0
    table = Compare([m])
    assert "torch.ones(3)" in str(table) and "Times are in" in str(table)


def test_no_valgrind():
    with pytest.raises(NotImplementedError, match="Valgrind"):
        Timer("pass").collect_callgrind()
    with pytest.raises(NotImplementedError, match="facula has no C"):
        Timer("x", language="c++")
