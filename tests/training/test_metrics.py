"""Metrics beside scikit-learn's, batch by batch, at the edges too."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

import facula as torch
from facula.training import (
    AUC,
    F1,
    MAE,
    MSE,
    R2,
    Accuracy,
    ConfusionMatrix,
    Precision,
    Recall,
    TopK,
    measure,
)

RANDOM = np.random.default_rng(0)


def batches(output, target, sizes=(7, 1, 0, 40)):
    """Pairs of tensors: pieces of the given sizes, then the rest."""
    edges = [0, *np.cumsum(sizes), len(target)]
    return [(torch.tensor(output[a:b]), torch.tensor(target[a:b])) for a, b in zip(edges, edges[1:])]


def streamed(metric, output, target):
    return measure([metric], batches(output, target))[metric.name]


CLASSES = {
    "all": (RANDOM.integers(0, 4, 100), RANDOM.integers(0, 4, 100)),
    "never predicted": (RANDOM.integers(0, 3, 100), RANDOM.integers(0, 4, 100)),
    "never true": (RANDOM.integers(0, 4, 100), RANDOM.choice([0, 1, 3], 100)),
    "neither": (RANDOM.choice([0, 3], 100), RANDOM.choice([0, 3], 100)),
    "all wrong": (np.zeros(100, np.int64), np.ones(100, np.int64)),
}


@pytest.mark.parametrize("case", CLASSES)
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("zero", [0.0, 1.0])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(Precision, sk.precision_score), (Recall, sk.recall_score), (F1, sk.f1_score)]
)
def test_rates(case, average, zero, ours, theirs):
    predicted, true = CLASSES[case]
    found = streamed(ours(average=average, classes=4, zero_division=zero), predicted, true)
    labels = {} if average is not None else {"labels": range(4)}
    expected = theirs(true, predicted, average=average, zero_division=zero, **labels)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rates_of_two_classes():
    predicted, true = RANDOM.integers(0, 2, 90), RANDOM.integers(0, 2, 90)
    assert streamed(Precision("binary"), predicted, true) == pytest.approx(sk.precision_score(true, predicted))
    assert streamed(F1("binary"), predicted, true) == pytest.approx(sk.f1_score(true, predicted))
    assert Recall("binary")(torch.tensor([0, 0]), torch.tensor([0, 0])) == 0.0
    with pytest.raises(ValueError, match="two classes"):
        Precision("binary")(torch.tensor([0, 2]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="not a valid value for average"):
        Precision("mean")


def test_scores_of_classes():
    scores, true = RANDOM.standard_normal((80, 5)).astype(np.float32), RANDOM.integers(0, 4, 80)
    predicted = scores.argmax(1)
    assert streamed(Accuracy(), scores, true) == pytest.approx(sk.accuracy_score(true, predicted))
    matrix = streamed(ConfusionMatrix(), scores, true)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(true, predicted, labels=range(5)))
    for k in (1, 2, 5, 9):
        expected = sk.top_k_accuracy_score(true, scores, k=k, labels=range(5)) if k < 5 else 1.0
        assert streamed(TopK(k), scores, true) == pytest.approx(expected)


def test_top_k_of_equal_scores_counts_each_place_once():
    scores = torch.zeros(4, 4)
    assert TopK(2)(scores, torch.arange(4)) == 0.5


def test_dense_outputs_have_the_classes_in_dim_1():
    scores, true = RANDOM.standard_normal((3, 4, 5, 6)).astype(np.float32), RANDOM.integers(0, 4, (3, 5, 6))
    expected = (scores.argmax(1) == true).mean()
    assert Accuracy()(torch.tensor(scores), torch.tensor(true)) == pytest.approx(expected)
    ranks = (-scores).argsort(1)[:, :2]
    expected = (ranks == true[:, None]).any(1).mean()
    assert TopK(2)(torch.tensor(scores), torch.tensor(true)) == pytest.approx(expected)


def test_one_score_a_sample():
    logits, true = RANDOM.standard_normal(50).astype(np.float32), RANDOM.integers(0, 2, 50)
    expected = sk.accuracy_score(true, logits > 0)
    assert streamed(Accuracy(), logits, true) == pytest.approx(expected)
    assert streamed(Accuracy(), logits[:, None], true) == pytest.approx(expected)
    assert streamed(Accuracy(), logits, true.astype(np.float32)) == pytest.approx(expected)
    assert streamed(Accuracy(threshold=0.5), logits, true) == pytest.approx(sk.accuracy_score(true, logits > 0.5))
    half = torch.tensor(logits).bfloat16()
    assert Accuracy()(half, torch.tensor(true)) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auc_counts_ties_half(levels):
    true = RANDOM.integers(0, 2, 300)
    scores = np.round(RANDOM.standard_normal(300) * levels) / levels + true * 0.5
    assert streamed(AUC(), scores, true) == pytest.approx(sk.roc_auc_score(true, scores), rel=1e-12)


def test_auc_of_scores_of_two_classes():
    scores, true = RANDOM.standard_normal((60, 2)).astype(np.float32), RANDOM.integers(0, 2, 60)
    assert streamed(AUC(), scores, true) == pytest.approx(sk.roc_auc_score(true, scores[:, 1] - scores[:, 0]))
    assert math.isnan(AUC()(torch.rand(3), torch.ones(3, dtype=torch.long)))
    with pytest.raises(ValueError, match="0 or 1"):
        AUC()(torch.rand(2), torch.tensor([1, 2]))


@pytest.mark.parametrize("shape", [(100,), (100, 1), (100, 3)])
def test_errors_of_numbers(shape):
    true = RANDOM.standard_normal(shape) + 1e6  # far from 0: sums of squares would lose all digits
    found = true + RANDOM.standard_normal(shape)
    assert streamed(MAE(), found, true) == pytest.approx(sk.mean_absolute_error(true, found), rel=1e-9)
    assert streamed(MSE(), found, true) == pytest.approx(sk.mean_squared_error(true, found), rel=1e-9)
    assert streamed(R2(), found, true) == pytest.approx(sk.r2_score(true, found), rel=1e-9)


def test_r2_of_constant_targets():
    true = np.ones(60)
    for found in (true, true + 1):
        assert streamed(R2(), found, true) == sk.r2_score(true, found)
    assert math.isnan(R2()(torch.ones(1), torch.ones(1)))


@pytest.mark.parametrize("metric", [Accuracy(), TopK(1), AUC(), MAE(), MSE(), R2()])
def test_nothing_is_nan(metric):
    assert math.isnan(measure([metric], [])[metric.name])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="outputs and targets do not fit"):
        Accuracy()(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="Target 3 is out of bounds"):
        Accuracy()(torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(ValueError, match="no classes"):
        Accuracy()(torch.zeros(1, 3), torch.tensor([-100]))
    with pytest.raises(ValueError, match="outputs and targets do not fit"):
        MSE()(torch.zeros(3), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="class 5 among 3 classes"):
        ConfusionMatrix(3)(torch.tensor([5]), torch.tensor([0]))


def test_a_metric_forgets():
    metric = MAE()
    metric.update(torch.ones(2), torch.zeros(2))
    metric.reset()
    metric.update(torch.ones(2) * 3, torch.zeros(2))
    assert metric.compute() == 3.0
