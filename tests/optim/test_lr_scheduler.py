"""Schedules against rates recorded from PyTorch 2.13; without PyTorch."""

import pytest

import facula as torch
from facula import optim
from facula.optim import lr_scheduler as s

# rates of 9 epochs from 0.5
RECORDED = {
    "StepLR": [0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005000000000000001, 0.005000000000000001, 0.005000000000000001],
    "MultiStepLR": [
        0.5,
        0.5,
        0.05,
        0.05,
        0.05,
        0.0005000000000000001,
        0.0005000000000000001,
        0.0005000000000000001,
        0.0005000000000000001,
    ],
    "ConstantLR": [
        0.16666666666666666,
        0.16666666666666666,
        0.16666666666666666,
        0.16666666666666666,
        0.16666666666666666,
        0.5,
        0.5,
        0.5,
        0.5,
    ],
    "LinearLR": [
        0.16666666666666666,
        0.23333333333333334,
        0.30000000000000004,
        0.36666666666666675,
        0.43333333333333346,
        0.5000000000000001,
        0.5000000000000001,
        0.5000000000000001,
        0.5000000000000001,
    ],
    "ExponentialLR": [
        0.5,
        0.45,
        0.405,
        0.36450000000000005,
        0.32805000000000006,
        0.2952450000000001,
        0.2657205000000001,
        0.23914845000000007,
        0.21523360500000008,
    ],
    "PolynomialLR": [
        0.5,
        0.34722222222222227,
        0.2222222222222223,
        0.12500000000000003,
        0.05555555555555558,
        0.013888888888888886,
        0.0,
        0.0,
        0.0,
    ],
    "CosineAnnealingLR": [
        0.5,
        0.42677669529663687,
        0.25,
        0.07322330470336313,
        0.0,
        0.0732233047033631,
        0.25000000000000006,
        0.4267766952966371,
        0.5000000000000002,
    ],
    "CosineAnnealingWarmRestarts": [
        0.5,
        0.25,
        0.5,
        0.42677669529663687,
        0.25,
        0.07322330470336313,
        0.5,
        0.4809698831278217,
        0.42677669529663687,
    ],
    "LambdaLR": [
        0.5,
        0.475,
        0.45125,
        0.42868749999999994,
        0.40725312499999994,
        0.3868904687499999,
        0.3675459453124999,
        0.34916864804687486,
        0.3317102156445311,
    ],
    "MultiplicativeLR": [
        0.5,
        0.475,
        0.45125,
        0.42868749999999994,
        0.40725312499999994,
        0.38689046874999994,
        0.3675459453124999,
        0.34916864804687486,
        0.3317102156445311,
    ],
    "OneCycleLR": [
        0.028000000000000025,
        0.364,
        0.7,
        0.6653392424094315,
        0.5682219577648341,
        0.4278834153554025,
        0.27211938464459756,
        0.13178084223516587,
        0.0346635575905684,
    ],
    "CyclicLR": [
        0.1,
        0.2333333333333334,
        0.3666666666666666,
        0.5,
        0.3666666666666668,
        0.23333333333333323,
        0.1,
        0.1666666666666668,
        0.23333333333333323,
    ],
    "SequentialLR": [0.05, 0.05, 0.5, 0.5, 0.5, 0.45, 0.405, 0.36450000000000005, 0.32805000000000006],
    "ChainedScheduler": [
        0.05,
        0.045000000000000005,
        0.4050000000000001,
        0.3645000000000001,
        0.3280500000000001,
        0.2952450000000001,
        0.2657205000000001,
        0.23914845000000007,
        0.21523360500000008,
    ],
}

MAKE = {
    "StepLR": lambda o: s.StepLR(o, 3),
    "MultiStepLR": lambda o: s.MultiStepLR(o, [2, 5, 5]),
    "ConstantLR": lambda o: s.ConstantLR(o),
    "LinearLR": lambda o: s.LinearLR(o),
    "ExponentialLR": lambda o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: s.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda o: s.CosineAnnealingLR(o, 4),
    "CosineAnnealingWarmRestarts": lambda o: s.CosineAnnealingWarmRestarts(o, 2, 2),
    "LambdaLR": lambda o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "MultiplicativeLR": lambda o: s.MultiplicativeLR(o, lambda epoch: 0.95),
    "OneCycleLR": lambda o: s.OneCycleLR(o, 0.7, 10),
    "CyclicLR": lambda o: s.CyclicLR(o, 0.1, 0.5, 3, mode="triangular2"),
    "SequentialLR": lambda o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [4]),
    "ChainedScheduler": lambda o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)]),
}


def rates(module, name, make):
    w = module.nn.Parameter(module.zeros(1))
    optimizer = module.optim.SGD([w], lr=0.5, momentum=0.9)
    scheduler = make(optimizer)
    seen = []
    for _ in range(9):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("name", MAKE)
def test_recorded(name):
    assert rates(torch, name, MAKE[name]) == RECORDED[name]


def test_plateau():
    optimizer = optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = s.ReduceLROnPlateau(optimizer, patience=1, cooldown=1)
    seen = []
    for metric in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0):
        scheduler.step(metric)
        seen.append(scheduler.get_last_lr()[0])
    assert seen == pytest.approx([1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_order_of_calls():
    optimizer = optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = s.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="Detected call of `lr_scheduler.step"):
        scheduler.step()
    with pytest.warns(UserWarning, match="please use `get_last_lr"):
        scheduler.get_lr()
