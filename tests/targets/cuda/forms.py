"""Every form of an operator with tensors on 'cuda': the checks of test_operators.py that no table of results has.

python -m tests.targets.cuda.forms --emulated NAME ...    the same options as `table`

Layouts, in-place forms, out=, methods, errors, operands that stay as they were; gradients in every dtype and those of
gradients, against the CPU's. What fails on the CPU is not looked at.
"""

import collections
import re
import sys
import warnings
from collections.abc import Callable

import facula
from tests.operators import results
from tests.operators import test_operators as checks
from tests.operators.table import Row, load_all
from tests.targets.cuda.table import device, part_of, samples_away

ERRORS = (checks.test_errors, checks.test_errors_in_place_leave_everything_as_it_was)
FORMS = (
    checks.test_layouts_do_not_matter,
    checks.test_in_place_equals_the_function,
    checks.test_out_equals_the_function,
    checks.test_method_equals_the_function,
    *ERRORS,
    checks.test_operands_stay_as_they_were,
)
LATE = "device-side assert triggered"  # what kernels find is raised at the next synchronisation, with PyTorch's words


def said(check: Callable, *arguments: object) -> str | None:
    """What a check has against a row."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(*arguments)
    except BaseException as error:  # pytest's own are no exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"
    return None


def late() -> bool:
    """Whether kernels have found something."""
    try:
        facula.cuda.synchronize()
    except RuntimeError as error:
        if LATE not in str(error):
            raise
        return True
    return False


def other_gradients(row: Row) -> dict:
    """Gradients of the first samples in the dtypes other than float64, and in it those of gradients."""
    found = {}
    for dtype in row.dtypes if row.grad else ():
        if not (facula_dtype := getattr(facula, dtype)).is_floating_point and not facula_dtype.is_complex:
            continue
        for n, sample in enumerate(row.samples[:3]):
            if dtype != "float64":
                found["gradients", n, dtype] = results._attempt(lambda: _plain(row, n, sample, dtype))  # noqa: B023
            elif row.second:
                found["second", n, dtype] = results._attempt(lambda: _second(row, n, sample))  # noqa: B023
    return found


def _plain(row: Row, number: int, sample, dtype: str):
    found = results.gradients(row, number, sample, dtype)
    return None if found is None else [None if g is None else results.plain(g) for g in found[0]]


def _second(row: Row, number: int, sample):
    found = results.gradients(row, number, sample, create_graph=True)
    if found is None:
        return None
    live = [g for g in found[0] if g is not None and g.requires_grad]
    seeds = [results.seed_like(g, 3 + i) for i, g in enumerate(live)]
    second = facula.autograd.grad(live, found[1], seeds, allow_unused=True) if live else []
    return [None if g is None else results.plain(g) for g in second]


def on_the_cpu(names: list[str]) -> dict[str, tuple[set[Callable], dict]]:
    """Row -> the forms that fail here too, and gradients."""
    found = {}
    for name in names:
        row = load_all()[name]
        found[name] = {form for form in FORMS if row in _rows(form) and said(form, row)}, other_gradients(row)
    return found


def _rows(form) -> list[Row]:
    (mark,) = form.pytestmark
    return mark.args[1]


def compare(names: list[str], here: dict[str, tuple[set[Callable], dict]]) -> int:
    """How many checks fail that do not on the CPU; prints them."""
    counts = collections.Counter()
    for name in names:
        row, (failing, gradients) = load_all()[name], here[name]
        with samples_away():
            for form in FORMS:
                if row not in _rows(form) or form in failing:
                    continue
                counts["checks"] += 1
                wrong = said(form, row)
                if late() or (wrong is not None and LATE in wrong):
                    wrong = None if form in ERRORS else f"an error that the CPU does not find: {wrong}"
                if wrong is not None:
                    counts["failures"] += 1
                    print(re.sub(r"\s+", " ", f"{name} {form.__name__}: {wrong}")[:400], flush=True)
            found = other_gradients(row)
        for key, wanted in gradients.items() if row.compare else ():
            if key[2] in row.blind:
                continue
            counts["checks"] += 1
            wrong = said(checks.agree, row, found[key], wanted, key[2], f"{name} {key}")
            if wrong is not None:
                counts["failures"] += 1
                print(re.sub(r"\s+", " ", wrong)[:400], flush=True)
    print(f"{counts['checks']} checks, {counts['failures']} fail")
    return counts["failures"]


def main(arguments: list[str]) -> int:
    given = [a for a in arguments if not a.startswith("--") and "/" not in a]
    names = part_of(sorted(given or load_all()), arguments)
    here: dict[str, tuple[set[Callable], dict]] = {}
    with device(arguments, lambda: here.update(on_the_cpu(names))):
        return compare(names, here or on_the_cpu(names))


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
