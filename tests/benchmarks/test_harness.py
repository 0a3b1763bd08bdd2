"""The harness of the benchmarks, on frameworks made of NumPy: what is lacking or wrong must show in the table."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.harness import Result, Row, Work, alternate, measure, summary, table


class FakeTensor(SimpleNamespace):
    dtype = "fake.float32"

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.values


def framework(value=1.0, **names):
    return SimpleNamespace(manual_seed=lambda seed: None, thing=lambda: FakeTensor(values=np.full(3, value)), **names)


def make(torch):
    return torch.thing


ROW = Row("group", "a row", make, 1.5)


def test_a_row_has_both_times_and_a_ratio():
    result = measure(ROW, framework(), framework(), budget=0.0)
    assert result.problem is None
    assert result.pairs >= 7
    assert result.baseline > 0 and result.candidate > 0 and result.ratio > 0


def test_what_the_candidate_lacks_is_printed_as_missing():
    lacking = SimpleNamespace(manual_seed=lambda seed: None)
    result = measure(ROW, framework(), lacking, budget=0.0)
    assert result.problem.startswith("missing: AttributeError")
    assert result.ratio is None and result.baseline > 0
    assert "missing" in table([result], ("a", "b"))


def test_another_error_is_printed_as_a_failure():
    broken = framework()
    broken.thing = lambda: 1 / 0
    assert measure(ROW, framework(), broken, budget=0.0).problem == "fails: ZeroDivisionError: division by zero"


def test_an_error_of_the_baseline_is_an_error_of_the_benchmark():
    with pytest.raises(AttributeError):
        measure(ROW, SimpleNamespace(manual_seed=lambda seed: None), framework(), budget=0.0)


def test_other_numbers_are_not_a_measurement_of_the_same_thing():
    assert measure(ROW, framework(), framework(1.1), budget=0.0).problem == "differs: by 0.1 where the largest is 1"
    assert measure(ROW, framework(), framework(float("nan")), budget=0.0).problem.startswith("differs")
    assert measure(ROW, framework(), framework(1.0001), budget=0.0).problem is None


def test_the_order_within_pairs_alternates():
    calls = []
    times, ratios = alternate(lambda: calls.append("A") or 3.0, lambda: calls.append("B") or 2.0, 0.0, (4, 4))
    assert calls == list("ABBAABBA")
    assert times == [(3.0, 2.0)] * 4
    assert ratios == [1.5] * 4


@pytest.mark.parametrize(
    ("ratio", "quartiles", "word"),
    [
        (1.4, (1.4, 1.4), "below"),
        (1.6, (1.5, 1.7), "ok"),
        (4.5, (2.0, 6.0), "ok, but noisy"),
    ],
)
@pytest.mark.parametrize("markdown", [False, True])
def test_the_table_judges(ratio, quartiles, word, markdown):
    result = Result("group", "a row", 1.5, "s", 3e-6, 2e-6, ratio, quartiles, 7)
    line = table([result], ("a", "b"), markdown).splitlines()[-1].rstrip("| ")
    assert "3 us" in line and "2 us" in line
    assert line.endswith(word)


def test_a_group_is_summed_up_by_its_geometric_mean():
    rows = [Result("small tensors", "a", 1.2, ratio=1.0), Result("small tensors", "b", 1.2, ratio=4.0)]
    assert summary(rows) == ["small tensors: geometric mean 2.00 (at least 1.8), 1 of 2 rows below"]


def test_rows_that_failed_count_as_below():
    rows = [Result("group", "a", 1.2, ratio=3.0), Result("group", "b", 1.2, problem="missing")]
    assert summary(rows) == ["group: geometric mean 3.00, 1 of 2 rows below"]


def test_the_table_tells_the_share_of_the_limit():
    result = Result("group", "a row", candidate=2.0, work=Work("copy", 3e9))
    assert "50 %" in table([result], ("a", "b"), limits={"copy": 3e9})
    assert "%" not in table([result], ("a", "b"))


def test_results_survive_a_file():
    result = Result("group", "a row", 1.0, work=Work("copy", 1.0), quartiles=(1.0, 2.0))
    assert Result.of_dict(result.as_dict()) == result


def test_a_baseline_that_waits_for_its_threads_is_measured_on_one():
    class Threads:
        count = 2

    def slow():
        time.sleep(0.02 if Threads.count > 1 else 0.0005)

    def fast():
        time.sleep(0.00005)

    def set_num_threads(count):
        Threads.count = count

    waits = SimpleNamespace(
        manual_seed=lambda seed: None,
        thing=slow,
        set_num_threads=set_num_threads,
        get_num_threads=lambda: Threads.count,
    )
    result = measure(ROW, waits, SimpleNamespace(manual_seed=lambda seed: None, thing=fast), budget=0.0)
    assert result.ratio < 30
    assert Threads.count == 2
    assert "baseline on one thread" in table([result], ("a", "b"))


def test_work_of_a_gpu_is_timed_by_its_events():
    waits = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.time = time.perf_counter()

        def synchronize(self):
            waits.append(1)

        def elapsed_time(self, end):
            return 1e3 * (end.time - self.time)

    cuda = SimpleNamespace(Event=Event, synchronize=lambda: waits.append(0))
    result = measure(Row("group", "a row", make, 1.0, gpu=True), framework(cuda=cuda), framework(cuda=cuda), 0.0)
    assert result.problem is None and result.pairs >= 7 and waits[:2] == [0, 1]


def test_the_models_of_gpu_rows_are_those_that_they_are_named_after():
    import facula
    from benchmarks import gpu_models

    with facula.device("meta"):
        sizes = [sum(p.numel() for p in make(facula).parameters()) for make in (gpu_models.gpt, gpu_models.resnet50)]
    assert sizes[1] == 25_557_032  # torchvision's resnet50
    assert sizes[0] == 50304 * 768 * 2 + 1024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
