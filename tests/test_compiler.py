"""`torch.compile` passes through, with PyTorch's checks and keys; `cond` and `while_loop` are Python's."""

import copy

import pytest

import facula as torch


def test_functions_do_what_they_did():
    @torch.compile
    def double(x):
        return x * 2

    @torch.compile(mode="reduce-overhead", fullgraph=True)
    def triple(x):
        return x * 3

    assert double.__name__ == "double" and double(torch.ones(1)).item() == 2 and triple(torch.ones(1)).item() == 3
    assert torch.compile(double, disable=True) is double


def test_a_module_is_wrapped_with_pytorchs_keys():
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    model = torch.compile(inner)
    assert list(model.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]
    assert repr(model).startswith("OptimizedModule(\n  (_orig_mod): Sequential(") and model._orig_mod is inner
    model.eval()
    assert not inner.training and not inner[1].training
    model.train()
    model.scale = 3
    assert inner.training and inner.scale == 3 and model.scale == 3
    model(torch.ones(1, 2)).sum().backward()
    assert inner[0].weight.grad is not None
    other = copy.deepcopy(model)
    other.load_state_dict(model.state_dict())
    assert other._orig_mod is not inner
    with pytest.raises(AttributeError, match="'Sequential' object has no attribute 'nothing'"):
        _ = model.nothing
    del model.scale
    assert not hasattr(inner, "scale")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"mode": "fast"}, RuntimeError, "Unrecognized mode=fast"),
        ({"mode": "default", "options": {}}, RuntimeError, "Either mode or options"),
        ({"backend": "fast"}, RuntimeError, "Invalid backend: 'fast'"),
        ({"backend": print}, NotImplementedError, "there is no graph to give it"),
    ],
)
def test_wrong_options_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        torch.compile(len, **options)
    with pytest.raises(AssertionError, match="A callable function is expected"):
        torch.compile(3)


def test_branches_and_loops_follow_values_and_have_gradients():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    torch.cond(x.sum() > 2, lambda x: x * 3, lambda x: x, (x,)).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert torch.cond(False, lambda: 1, lambda: 2) == 2
    steps, y = torch.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (torch.tensor(0), x))
    assert steps.item() == 3 and y.tolist() == [8, 16]
    with pytest.raises(RuntimeError, match="Expected pred to be bool or single-element tensor"):
        torch.cond(torch.ones(2), lambda: 1, lambda: 2)
    with pytest.raises(RuntimeError, match="Expect operands to be a tuple"):
        torch.cond(True, len, len, x)


def test_what_programs_say_to_the_compiler():
    compiler = torch.compiler
    assert not compiler.is_compiling() and compiler.disable(len) is len and compiler.disable(reason="slow")(len) is len
    assert "inductor" in compiler.list_backends() and "eager" in compiler.list_backends(None)
    with compiler.set_stance("force_eager"):
        pass
    with pytest.raises(RuntimeError, match="invalid torch.compile stance"):
        compiler.set_stance("sitting")
    compiler.set_default_backend("eager")
    assert compiler.get_default_backend() == "eager"
    compiler.set_default_backend(None)
    assert compiler.get_default_backend() == "inductor"
