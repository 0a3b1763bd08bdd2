"""Rows for the training kit: the loop that a program writes by hand against `fit`, both with the candidate."""

import importlib
import time
from collections.abc import Callable
from typing import Any

from .harness import Result, fill

__all__ = ["KIT"]

LEAST = 0.97  # at most 3 % slower than the loop by hand
EPOCHS = 5


def mlp(torch: Any) -> tuple[Any, Any]:
    """The hard case: steps so short that what is around them shows."""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.utils.data.TensorDataset(torch.randn(3200, 64), torch.randint(10, (3200,)))


def cnn(torch: Any) -> tuple[Any, Any]:
    nn = torch.nn
    first = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = nn.Sequential(*first, *second, nn.Linear(16, 10))
    return model, torch.utils.data.TensorDataset(torch.randn(320, 1, 28, 28), torch.randint(10, (320,)))


def against_hand(name: str, make: Callable[[Any], tuple[Any, Any]], batches: bool) -> Callable[[str, str], Result]:
    """A row: five epochs by hand, five by `fit`; `batches`: from a list of batches, where no loader's time hides it."""

    def measured(baseline: str, candidate: str) -> Result:
        torch = importlib.import_module(candidate)
        result = Result("training kit", name, LEAST)
        try:
            fit = importlib.import_module(f"{candidate}.training").fit
        except ImportError as error:
            result.problem = f"missing: {error}"
            return result
        torch.manual_seed(0)
        model, data = make(torch)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        criterion = torch.nn.CrossEntropyLoss()
        loader = torch.utils.data.DataLoader(data, batch_size=32)
        source = list(loader) if batches else loader

        def by_hand() -> None:
            model.train()
            for _ in range(EPOCHS):
                for x, y in source:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()
                    optimizer.step()

        def by_kit() -> None:
            fit(model, source, criterion, optimizer, EPOCHS, progress=False)

        def seconds(function: Callable[[], None]) -> float:
            start = time.perf_counter()
            function()
            return (time.perf_counter() - start) / EPOCHS

        for function in (by_hand, by_kit):
            function()
        fill(result, lambda: seconds(by_hand), lambda: seconds(by_kit), budget=20, pairs=(21, 101))
        result.notes["both with facula"] = "the first time is the loop by hand, the second `fit`"
        return result

    return measured


CASES: tuple[tuple[str, Callable[[Any], tuple[Any, Any]], bool], ...] = (
    ("MLP 64-128-10, batch 32, an epoch of 100 steps", mlp, True),
    ("the same from a DataLoader", mlp, False),
    ("CNN of two convolutions on 28x28, batch 32, an epoch of 10 steps", cnn, False),
)
KIT = [(name, against_hand(name, make, batches)) for name, make, batches in CASES]
