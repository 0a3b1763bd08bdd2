"""The first NaN or infinity of a training step: who made it, in which module, on which line, which element."""

import copy
import inspect
import pickle

import pytest

import facula as torch
from facula.explain.watching import NotFinite, finite, watch_all

nn = torch.nn


class Block(nn.Module):
    """A layer, dropout, and what is put to the test."""

    def __init__(self, function):
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)
        self.function = function

    def forward(self, x):
        return self.function(self.drop(self.layer(x)))


def trained(function, loss_of=lambda out: out.mean(), optimizer=torch.optim.SGD, data=None, steps=3, **options):
    """The error of a few steps of training under a watch, and the number of the step."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(Block(function)))
    optimizer = optimizer(model.parameters(), **{"lr": 0.1, **options})
    with torch.watch(model):
        for step in range(steps):
            out = model(torch.randn(2, 3) if data is None else data)
            loss = loss_of(out)
            optimizer.zero_grad()
            try:
                loss.backward()
            except NotFinite as error:
                return error, step, model
            optimizer.step()
    return None, steps, model


def line_of(text: str) -> str:
    """`file:line` of this file's line that has `text` as its last words."""
    rows = inspect.getsource(inspect.getmodule(line_of)).splitlines()
    return f"tests/explain/test_watching.py:{next(n for n, row in enumerate(rows, 1) if row.endswith(text))}"


def test_all_is_well():
    assert trained(torch.relu)[0] is None


def negative(h):
    return torch.log(h - 3)  # a negative number


def test_forward_in_a_nested_module():
    error, step, model = trained(negative)
    assert (error.operator, error.phase, error.module, step) == ("log", "forward", "1.0", 0)
    assert error.line == line_of("# a negative number")
    assert str(error) == "log made nan of finite numbers" and error.index == (0, 0) and error.value != error.value
    notes = "\n".join(error.__notes__)
    assert (
        "in 1.0 (Block)" in notes
        and "return torch.log(h - 3)" in notes
        and "operand 1: float32 [2, 4], there -3" in notes
    )
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())  # nothing is spoilt


def overflow(h):
    big = torch.exp(h.abs() * 1000)  # too large
    return big - big  # inf - inf


def test_infinity_that_becomes_nan():
    error, _, _ = trained(overflow)
    assert (error.operator, error.phase, error.value) == ("exp", "forward", float("inf"))
    assert error.line == line_of("# too large")
    assert any(f"then sub at {line_of('# inf - inf')} made nan of it" in note for note in error.__notes__)


def root(h):
    return (h * 0).sqrt()  # at zero


def test_backward():
    error, _, _ = trained(root)
    assert (error.operator, error.phase, error.module, error.line) == ("sqrt", "backward", "1.0", line_of("# at zero"))
    assert str(error) == "backward of sqrt made inf of finite numbers" and error.index == (0, 0)


def test_a_loss_of_the_programs_own():
    error, _, _ = trained(torch.relu, lambda out: torch.log(out).mean())  # of zeros
    assert (error.operator, error.phase, error.module, error.line) == ("log", "forward", "", line_of("# of zeros"))
    error, _, _ = trained(torch.relu, lambda out: ((out - out) ** 2).sum().sqrt())  # steep
    assert (error.operator, error.phase, error.line) == ("sqrt", "backward", line_of("# steep"))
    error, _, _ = trained(torch.relu, lambda out: (out / out).mean())
    assert (error.operator, error.phase) == ("div", "forward")


def test_what_is_known_of_a_loss_is_what_its_graph_keeps():
    error, _, _ = trained(torch.relu, lambda out: ((out + 1) * 1e38 * 1e38).sum())
    assert (str(error), error.phase) == ("mul made inf of finite numbers", "forward")
    assert any("operand 2: float 1e+38" in note for note in error.__notes__)
    error, _, _ = trained(torch.relu, lambda out: (out + float("inf")).sum())
    assert str(error) == "inf is first seen in what sum made"
    assert any("or it was add at" in note for note in error.__notes__)


def test_sparse_gradients():
    model = nn.Sequential(nn.Embedding(3, 2, sparse=True), nn.Flatten())
    words = torch.tensor([[1, 2]])
    with torch.watch(model):
        model(words).sum().backward()
        with pytest.raises(NotFinite):
            (model(words).sum() * 1e38 * 1e38).backward()


def test_an_update():
    error, step, _ = trained(lambda h: h * 0, optimizer=torch.optim.Adam, eps=0.0)
    assert (error.phase, error.operator, error.module, step) == ("update", "Adam.step()", "0", 1)
    assert error.line == line_of("optimizer.step()") and error.index == (0, 0)
    assert any("exp_avg_sq[0, 0] of its state is 0" in note for note in error.__notes__)


def test_data():
    data = torch.tensor([[1.0, 2.0, float("nan")]])
    error, _, _ = trained(torch.relu, data=data)
    assert (error.phase, error.index) == ("input", (0, 2)) and str(error) == "the input of Sequential has nan"


def in_place(h):
    h = h * 2
    h.sub_(100).log_()  # in place
    return h


def written(h):
    h = h * 2
    h[0, 1] = float("nan")  # written
    return h


def test_operations_in_place():
    error, _, _ = trained(in_place)
    assert (error.operator, error.line) == ("log", line_of("# in place"))
    assert any("operand 1: float32 [2, 4], there -1" in note for note in error.__notes__)
    error, _, _ = trained(written)
    assert (error.operator, error.line) == ("fill", line_of("# written"))


def test_infinities_that_are_meant_are_none_of_its_business():
    def masked(h):
        return h.masked_fill(h < h.mean(-1, keepdim=True), float("-inf")).softmax(-1)

    def all_masked(h):
        return h.masked_fill(h < 100, float("-inf")).softmax(-1)

    assert trained(masked)[0] is None
    error, _, _ = trained(all_masked)
    assert (error.operator, error.phase) == ("softmax", "forward")


def test_a_mask_that_is_an_argument():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x, mask = torch.randn(2, 3, 8), nn.Transformer.generate_square_subsequent_mask(3)
    with torch.watch(layer):
        layer(x, mask).sum().backward()
        with pytest.raises(NotFinite) as caught:
            (layer(x, mask) * 0).sum().log().backward()  # of zero
    assert (caught.value.operator, caught.value.line) == ("log", line_of("# of zero"))


def test_a_replay_that_cannot_be():
    class Once(nn.Module):
        def __init__(self, second):
            super().__init__()
            self.layer, self.values = nn.Linear(2, 2), iter([float("nan"), second])

        def forward(self, x):
            return self.layer(x) * next(self.values)

    for second, words in (
        (1.0, "a result in forward is not finite, but its replay is"),
        (None, "replay of the step failed"),
    ):
        model = Once(second)
        with torch.watch(model), pytest.raises(NotFinite, match=words):
            model(torch.ones(1, 2)).sum().backward()


def test_dropout_is_replayed_with_its_random_numbers():
    # A NaN for one pattern of dropped elements in a few steps: a replay with other numbers would not find it.
    def sometimes(h):
        return (h - h - 1).sqrt() if h[0, 0] == 0 and h[1, 1] == 0 and h[1, 3] == 0 else h

    error, step, _ = trained(sometimes, steps=60)
    assert error is not None and step > 0
    assert (error.operator, error.phase) == ("sqrt", "forward")
    # Random numbers go on as if there had been no replay.
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(Block(torch.relu)))
    for _ in range(step + 1):
        model(torch.randn(2, 3))
    wanted = torch.rand(3).tolist()
    trained(sometimes, steps=60)
    assert torch.rand(3).tolist() == wanted


def test_buffers_are_those_of_the_step():
    class Drifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.count += 1
            return torch.sqrt(self.layer(x) ** 2 + (2.5 - self.count).clamp(max=0) * 1e6)

    model = Drifting()
    with torch.watch(model), pytest.raises(NotFinite, match="sqrt made nan") as caught:
        for _ in range(5):
            model(torch.ones(1, 2)).sum().backward()
    assert caught.value.operator == "sqrt" and model.count.item() == 3


def test_several_calls_before_one_backward():
    encoder, decoder = nn.Linear(2, 3), nn.Linear(3, 1)
    with torch.watch(encoder, decoder), pytest.raises(NotFinite, match="backward of sqrt") as caught:
        code = encoder(torch.ones(4, 2))
        between = (code - code.detach()).abs().sqrt()  # between the calls
        decoder(between).sum().backward()
    assert caught.value.line == line_of("# between the calls")


def test_gradient_statistics():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, bias=False))
    with torch.watch(model) as watch:
        assert watch.gradients() == []
        model[0].weight.grad = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
        model[1].weight.grad = torch.tensor([[float("nan"), 0.0]])
        first, second = watch.gradients()
    assert first == ("0.weight", (2, 2), 5.0, 4.0, 0.5, 0.0)
    assert (second.name, second.zeros, second.nan) == ("1.weight", 0.5, 0.5)
    assert str(first).startswith("0.weight ")


def test_a_forgotten_zero_grad():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.watch(model, zero_grad=True):
        with pytest.warns(UserWarning, match="adds to the gradients of the step before"):
            for _ in range(3):
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
    with torch.watch(model, zero_grad=True):  # neither accumulation nor zeros are an oversight
        for _ in range(3):
            optimizer.zero_grad(set_to_none=False)
            for _ in range(2):
                model(torch.ones(1, 2)).sum().backward()
            optimizer.step()


def test_closing_leaves_no_trace():
    model = nn.Linear(2, 1)
    before = set(vars(model))
    watch = torch.watch(model)
    assert inspect.signature(model.forward) == inspect.signature(nn.Linear(2, 1).forward)
    twin, thawed = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert "forward" not in vars(twin) and "forward" not in vars(thawed)
    watch.close()
    assert set(vars(model)) == before
    watch.close()  # once more is nothing
    (model(torch.zeros(1, 2)) - model.bias).sqrt().sum().backward()  # nobody looks
    with pytest.raises(RuntimeError, match="a second time"):
        out = (model(torch.ones(1, 2)) ** 2).sum()
        out.backward()
        out.backward()


def test_watching_all_modules():
    call = nn.Module.__call__
    watch = watch_all()
    try:
        model = nn.Sequential(nn.Linear(2, 2), Block(lambda h: h))
        with pytest.raises(NotFinite) as caught:
            nn.MSELoss()(nn.Sequential(nn.Linear(2, 4), Block(negative))(torch.ones(1, 2)), torch.ones(1, 4)).backward()
        assert (caught.value.module, caught.value.line) == ("1", line_of("# a negative number"))
        assert model is not None
    finally:
        watch.close()
    assert nn.Module.__call__ is call


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64])
def test_finite(dtype):
    x, y = torch.ones(70000, dtype=dtype), torch.ones(3, dtype=dtype)
    assert finite([]) and finite([x, y]) and finite([x.view(7, -1).T])
    for value in (float("nan"), float("inf"), float("-inf")):
        bad = y.clone()
        bad[1] = value
        assert not finite([x, bad])
    assert finite([torch.tensor([1, 2])])
