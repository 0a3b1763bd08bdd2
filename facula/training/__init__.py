"""Training, evaluation and counting for programs that want no loop of their own; optional, as fast as that loop."""

from .callbacks import Callback, EarlyStopping, HistoryFile, KeepBest, Progress, ToTensorBoard
from .history import History
from .loop import Run, evaluate, fit, predict
from .metrics import AUC, F1, MAE, MSE, R2, Accuracy, ConfusionMatrix, Metric, Precision, Recall, TopK, measure
from .summary import Layer, Summary, summary

__all__ = [
    "AUC", "F1", "MAE", "MSE", "R2", "Accuracy", "Callback", "ConfusionMatrix", "EarlyStopping", "History",
    "HistoryFile", "KeepBest", "Layer", "Metric", "Precision", "Progress", "Recall", "Run", "Summary", "ToTensorBoard",
    "TopK", "evaluate", "fit", "measure", "predict", "summary",
]  # fmt: skip
