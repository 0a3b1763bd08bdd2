"""Measures of how good outputs are, added up over batches: update with each batch, then compute.

Counts and sums are kept as NumPy arrays in float64 and int64, so that they are exact however many batches there are.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = [
    "AUC", "F1", "MAE", "MSE", "R2", "Accuracy", "ConfusionMatrix", "Metric", "Precision", "Recall", "TopK", "measure",
]  # fmt: skip


class Metric:
    """A number (or array) about all outputs and targets that were seen since `reset`.

    A subclass has `name`, `reset`, `update(output, target)` and `compute()`. An instance is also callable: it measures
    one pair and forgets it.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import Metric, measure
    >>> class Largest(Metric):
    ...     name = "largest error"
    ...     def reset(self):
    ...         self.error = 0.0
    ...     def update(self, output, target):
    ...         self.error = max(self.error, (output - target).abs().max().item())
    ...     def compute(self):
    ...         return self.error
    >>> measure([Largest()], [(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))])
    {'largest error': 0.5}
    """

    name: str = "metric"

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        raise NotImplementedError

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch."""
        raise NotImplementedError

    def compute(self) -> Any:
        """The measure of everything added so far; NaN where nothing was."""
        raise NotImplementedError

    def __call__(self, output: Tensor, target: Tensor) -> Any:
        self.reset()
        self.update(output, target)
        found = self.compute()
        self.reset()
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def measure(metrics: Iterable[Metric], pairs: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Each metric by its name, over pairs of outputs and targets."""
    metrics = list(metrics)
    for metric in metrics:
        metric.reset()
    for output, target in pairs:
        for metric in metrics:
            metric.update(output, target)
    return {metric.name: metric.compute() for metric in metrics}


def _array(x: Any) -> np.ndarray:
    """The values as a NumPy array; float16 and bfloat16 as float32."""
    if not isinstance(x, Tensor):
        return np.asarray(x)
    x = x.detach()  # type: ignore[attr-defined]
    if x.dtype.is_floating_point and x.dtype.itemsize < 4:
        x = x.float()
    return x.cpu().numpy()


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float) -> np.ndarray:
    """Quotients in float64; `otherwise` where the denominator is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(below.shape, float(otherwise)), where=below != 0)


# --- classes --------------------------------------------------------------------------------------------------------


def _classes(output: Tensor, target: Tensor, threshold: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted and true classes as flat int64 arrays, and how many classes the output speaks of (0: it does not say).

    Scores (N, C, ...) mean the class with the highest one; floating-point values of the target's shape (or with a last
    dim of 1 more) mean class 1 where they are above the threshold; integers are classes.
    """
    scores, true = _array(output), _array(target)
    count = 0
    if scores.dtype.kind == "f" and scores.ndim == true.ndim + 1 and scores.shape[1] > 1:
        count = scores.shape[1]
        predicted = scores.argmax(1)
    else:
        if scores.ndim == true.ndim + 1 and scores.shape[-1] == 1:
            scores = scores[..., 0]
        if scores.dtype.kind == "f":
            scores, count = scores > threshold, 2
        predicted = scores
    if predicted.shape != true.shape:
        fail(
            ValueError,
            "outputs and targets do not fit",
            expected="scores (N, C, ...) and classes (N, ...), or outputs of the targets' shape",
            got=f"output {tuple(output.shape)}, target {tuple(target.shape)}",
        )
    if true.dtype.kind == "f" and not (true == np.rint(true)).all():
        fail(ValueError, "targets are no classes", expected="whole numbers", got=f"{true.dtype} with fractions")
    true = true.astype(np.int64).ravel()
    if true.size and true.min() < 0:
        fail(ValueError, "targets are no classes", expected="numbers from 0 on", got=int(true.min()))
    if count and true.size and true.max() >= count:
        fail(ValueError, f"Target {true.max()} is out of bounds.", expected=f"classes below {count}")
    return predicted.astype(np.int64).ravel(), true, count


class Accuracy(Metric):
    """Share of right classes.

    Parameters
    ----------
    threshold : float
        Where outputs of one number a sample begin to mean class 1: 0 for the scores that `BCEWithLogitsLoss` takes (the
        default), 0.5 for probabilities.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import Accuracy
    >>> Accuracy()(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """

    name = "accuracy"

    def __init__(self, threshold: float = 0.0):
        self.threshold = threshold
        super().__init__()

    def reset(self):
        self.right = self.count = 0

    def update(self, output, target):
        predicted, true, _ = _classes(output, target, self.threshold)
        self.right += int((predicted == true).sum())
        self.count += true.size

    def compute(self) -> float:
        return self.right / self.count if self.count else float("nan")


class TopK(Metric):
    """Share of samples whose class is among the k highest scores; of equal scores the lower class goes first."""

    def __init__(self, k: int = 5):
        if k < 1:
            fail(ValueError, "TopK(): k must be at least 1", got=k)
        self.k, self.name = k, f"top-{k}"
        super().__init__()

    def reset(self):
        self.right = self.count = 0

    def update(self, output, target):
        scores, true = _array(output), _array(target).astype(np.int64)
        if scores.ndim != true.ndim + 1:
            fail(ValueError, "TopK(): outputs and targets do not fit", expected="scores (N, C, ...), classes (N, ...)")
        if true.size and not 0 <= true.min() <= true.max() < scores.shape[1]:
            wrong = true.max() if true.max() >= scores.shape[1] else true.min()
            fail(ValueError, f"Target {wrong} is out of bounds.", expected=f"classes below {scores.shape[1]}")
        own = np.take_along_axis(scores, np.expand_dims(true, 1), 1)
        earlier = np.arange(scores.shape[1]).reshape(1, -1, *[1] * (true.ndim - 1)) < np.expand_dims(true, 1)
        before = (scores > own) | ((scores == own) & earlier)
        self.right += int((before.sum(1) < self.k).sum())
        self.count += true.size

    def compute(self) -> float:
        return self.right / self.count if self.count else float("nan")


class ConfusionMatrix(Metric):
    """How often each class (row) was taken for each class (column), as an int64 array.

    Parameters
    ----------
    classes : int, optional
        How many; by default as many as the outputs have scores for, or the largest class seen asks for.
    threshold : float
        As for `Accuracy`.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import ConfusionMatrix
    >>> ConfusionMatrix(3)(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    """

    name = "confusion"

    def __init__(self, classes: int | None = None, threshold: float = 0.0):
        self.classes, self.threshold = classes, threshold
        super().__init__()

    def reset(self):
        self.matrix = np.zeros((self.classes or 0,) * 2, np.int64)

    def update(self, output, target):
        predicted, true, count = _classes(output, target, self.threshold)
        most = int(max(predicted.max(initial=-1), true.max(initial=-1))) + 1
        if self.classes is not None and most > self.classes:
            fail(ValueError, f"class {most - 1} among {self.classes} classes", expected=f"classes below {self.classes}")
        size = max(most, count, len(self.matrix)) if self.classes is None else self.classes
        grown = np.zeros((size, size), np.int64)
        grown[: len(self.matrix), : len(self.matrix)] = self.matrix
        self.matrix = grown + np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)

    def compute(self) -> np.ndarray:
        return self.matrix.copy()


class _Rates(ConfusionMatrix):
    """What is computed from right answers, predictions and targets of each class."""

    def __init__(
        self,
        average: str | None = "macro",
        classes: int | None = None,
        zero_division: float = 0.0,
        threshold: float = 0.0,
    ):
        if average not in ("micro", "macro", "weighted", "binary", None):
            fail(
                ValueError,
                f"{average!r} is not a valid value for average",
                expected="'micro', 'macro', 'weighted', 'binary' or None",
            )
        self.average, self.zero_division = average, zero_division
        kind = type(self).__name__
        self.name = (kind if kind == "F1" else kind.lower()) + (f" {average}" if average not in ("macro", None) else "")
        super().__init__(classes, threshold)

    def rate(self, right: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """The measure, from counts."""
        raise NotImplementedError

    def compute(self) -> Any:
        right, predicted, true = self.matrix.diagonal(), self.matrix.sum(0), self.matrix.sum(1)
        if self.average == "micro":
            return float(self.rate(right.sum(), predicted.sum(), true.sum()))
        each = self.rate(right, predicted, true)
        if self.average is None:
            return each
        if self.average == "binary":
            if len(each) > 2:
                fail(ValueError, "average='binary' is for two classes", got=f"{len(each)} classes")
            return float(each[1]) if len(each) == 2 else float(self.zero_division)
        if self.average == "weighted":
            return float(_ratio((each * true).sum(), true.sum(), self.zero_division))
        seen = (predicted + true) > 0  # a class that never occurs is no class
        return float(each[seen].mean()) if seen.any() else float(self.zero_division)


class Precision(_Rates):
    """Of those taken for a class, the share that belong to it.

    Parameters
    ----------
    average : {"macro", "micro", "weighted", "binary", None}
        The mean over the classes that occur in outputs or targets; over all samples; the mean weighted by the targets;
        that of class 1; or an array with all classes.
    classes : int, optional
    zero_division : float
        The value of a class that was never predicted.
    threshold : float
        As for `Accuracy`.

    Notes
    -----
    The values are those of scikit-learn's `precision_score`.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import Precision
    >>> Precision(average=None)(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])).tolist()
    [1.0, 0.5]
    """

    def rate(self, right, predicted, true):
        return _ratio(right, predicted, self.zero_division)


class Recall(_Rates):
    """Of those that belong to a class, the share that were taken for it; parameters as for `Precision`."""

    def rate(self, right, predicted, true):
        return _ratio(right, true, self.zero_division)


class F1(_Rates):
    """The harmonic mean of precision and recall; parameters as for `Precision`."""

    def rate(self, right, predicted, true):
        return _ratio(2 * right, predicted + true, self.zero_division)


class AUC(Metric):
    """Area under the ROC curve of two classes: how often a positive scores above a negative, ties counting half.

    It is exact, and so keeps all scores. NaN where one of the classes is missing.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import AUC
    >>> AUC()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    0.75
    """

    name = "AUC"

    def reset(self):
        self.scores: list[np.ndarray] = []
        self.positive: list[np.ndarray] = []

    def update(self, output, target):
        scores, true = _array(output), _array(target)
        if scores.ndim == true.ndim + 1 and scores.shape[-1] == 1:
            scores = scores[..., 0]
        elif scores.ndim == true.ndim + 1 and scores.shape[1] == 2:
            scores = scores[:, 1] - scores[:, 0]
        if scores.shape != true.shape:
            fail(ValueError, "AUC(): outputs and targets do not fit", expected="one score a target, or two classes",
                 got=f"output {tuple(output.shape)}, target {tuple(target.shape)}")  # fmt: skip
        if not ((true == 0) | (true == 1)).all():
            fail(ValueError, "AUC(): targets must be 0 or 1")
        self.scores.append(scores.astype(np.float64).ravel())
        self.positive.append(true.astype(bool).ravel())

    def compute(self) -> float:
        if not self.scores:
            return float("nan")
        scores, positive = np.concatenate(self.scores), np.concatenate(self.positive)
        if np.isnan(scores).any():
            return float("nan")
        ups, downs = int(positive.sum()), int((~positive).sum())
        if not ups or not downs:
            return float("nan")
        _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
        ranks = np.cumsum(counts) - (counts - 1) / 2  # from 1; equal scores share the mean of theirs
        return float((ranks[place][positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


# --- numbers --------------------------------------------------------------------------------------------------------


def _numbers(output: Tensor, target: Tensor, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets in float64, of one shape; a last dim of 1 may be missing on one side."""
    found, true = _array(output).astype(np.float64), _array(target).astype(np.float64)
    if found.ndim == true.ndim + 1 and found.shape[-1] == 1:
        found = found[..., 0]
    elif true.ndim == found.ndim + 1 and true.shape[-1] == 1:
        true = true[..., 0]
    if found.shape != true.shape:
        fail(
            ValueError,
            f"{name}(): outputs and targets do not fit",
            expected="the same shape",
            got=f"output {tuple(output.shape)}, target {tuple(target.shape)}",
        )
    return found, true


class _Mean(Metric):
    """The mean of something over all elements."""

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, output, target):
        found, true = _numbers(output, target, self.name)
        self.total += float(self.each(found - true).sum())
        self.count += true.size

    def each(self, error: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def compute(self) -> float:
        return self.total / self.count if self.count else float("nan")


class MAE(_Mean):
    """Mean absolute error."""

    name = "MAE"

    def each(self, error):
        return np.abs(error)


class MSE(_Mean):
    """Mean squared error."""

    name = "MSE"

    def each(self, error):
        return error * error


class R2(Metric):
    """Share of the targets' variance that is explained: 1 - squared errors / squared distances from the mean.

    Several columns (N, D) count equally. Constant targets give 1 where they are met exactly, else 0; fewer than two
    samples give NaN (all as scikit-learn's `r2_score`).

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import R2
    >>> R2()(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    0.9486081370449679
    """

    name = "R2"

    def reset(self):
        self.count: int = 0
        self.mean: Any = 0.0  # of the targets so far, by column
        self.spread: Any = 0.0  # squared distances from it
        self.error: Any = 0.0  # squared

    def update(self, output, target):
        found, true = _numbers(output, target, self.name)
        if not true.size:
            return
        found, true = (x.reshape(len(x), -1) if x.ndim else x.reshape(1, 1) for x in (found, true))
        # Two sets of samples are joined without the difference of large sums (Chan, Golub, LeVeque 1979).
        count, mean = len(true), true.mean(0)
        moved = mean - self.mean
        total = self.count + count
        self.spread = self.spread + ((true - mean) ** 2).sum(0) + moved**2 * (self.count * count / total)
        self.mean = self.mean + moved * (count / total)
        self.error = self.error + ((found - true) ** 2).sum(0)
        self.count = total

    def compute(self) -> float:
        if self.count < 2:
            return float("nan")
        explained = 1 - _ratio(self.error, self.spread, 0.0)
        explained[self.spread == 0] = (self.error[self.spread == 0] == 0).astype(float)
        return float(explained.mean())
