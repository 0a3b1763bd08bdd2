"""`torch.utils.benchmark` beside PyTorch's: signatures, the text of measurements and of tables of the same numbers."""

import inspect

import pytest
import torch.utils.benchmark as theirs

import facula.utils.benchmark as ours


def measurements(module):
    from importlib import import_module

    common = import_module(f"{module.__name__}.utils.common" if module is theirs else f"{module.__name__}.common")
    found = []
    for number, (label, stmt, sub, description, threads, env) in enumerate(
        [
            ("sums", "x + y", None, "here", 1, "own"), ("sums", "x - y", "minus", "here", 1, "own"),
            ("sums", "x + y", None, "there", 1, "own"), ("sums", "x + y", None, "here", 4, "other"),
            ("sums", "x + y", None, "there", 4, "other"), (None, "x\ny\nz", None, None, 2, None),
            (None, "x\ny", "sub", "about", 1, "env"),
        ]
    ):  # fmt: skip
        setup = ("pass", "", "a = 1", "a = 1\nb = 2")[number % 4]
        spec = common.TaskSpec(stmt, setup, "", label, sub, description, env, threads)
        times = [[1e-6 * (n + 1) * 10**number for n in range(8)], [2e-6, 2.01e-6, 2.02e-6, 2e-6, 2e-6], [3e-5]][
            number % 3
        ]
        found.append(common.Measurement(10, times, spec))
    return found


def test_measurements():
    for mine, other in zip(measurements(ours), measurements(theirs)):
        assert repr(mine).splitlines()[1:] == repr(other).splitlines()[1:]
        for name in ("median", "mean", "iqr", "times", "significant_figures", "has_warnings", "title", "as_row_name",
                     "stmt", "num_threads", "label", "env"):  # fmt: skip
            assert getattr(mine, name) == pytest.approx(getattr(other, name)), name


@pytest.mark.parametrize("rowwise", [None, False, True])
@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("warn", [False, True])
def test_tables(rowwise, trim, warn):
    texts = []
    for module in (ours, theirs):
        table = module.Compare(measurements(module)[:5])
        if trim:
            table.trim_significant_figures()
        if rowwise is not None:
            table.colorize(rowwise=rowwise)
        if warn:
            table.highlight_warnings()
        texts.append(str(table))
    assert texts[0] == texts[1]


def test_merging():
    for module in (ours, theirs):
        merged = module.Measurement.merge(measurements(module) * 2)
        assert [len(m.times) for m in merged] == [2 * len(m.times) for m in measurements(module)]


@pytest.mark.parametrize(
    "name", ["Timer", "Timer.timeit", "Timer.blocked_autorange", "Timer.adaptive_autorange", "Compare", "Measurement"]
)
def test_signatures(name):
    def names(module):
        found = module
        for part in name.split("."):
            found = getattr(found, part)
        return [(p.name, p.kind) for p in inspect.signature(found).parameters.values()]

    assert names(ours) == names(theirs)


@pytest.mark.parametrize("value", [3.14159, 1234.5, 0.00123])
def test_figures(value):
    for figures in range(1, 5):
        assert ours.trim_sigfig(value, figures) == pytest.approx(theirs.trim_sigfig(value, figures), rel=1e-6)
    assert ours.select_unit(value) == theirs.select_unit(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.Timer(3), lambda m: m.Timer("x", language="fortran"), lambda m: m.Timer("x", global_setup="y"),
        lambda m: m.Timer("pass").repeat(), lambda m: m.Timer("pass").autorange(), lambda m: m.Compare([3]),
        lambda m: m.Timer("undefined_name").timeit(1),
    ],
)  # fmt: skip
def test_errors(call):
    found = []
    for module in (ours, theirs):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            call(module)
        found.append((type(caught.value), str(caught.value).splitlines()[0]))
    assert found[0] == found[1]
