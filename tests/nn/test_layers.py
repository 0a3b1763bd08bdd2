"""What layers promise of themselves, without PyTorch beside them."""

import copy

import numpy as np
import pytest

import facula as torch
from facula import nn
from facula.nn.utils import parametrizations, parametrize, prune


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def near(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_lazy_layers_become_ordinary():
    layer = nn.LazyLinear(3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="uninitialized parameter"):
        layer.weight.sum()
    before = layer(torch.ones(2, 4)).sum()
    before.backward()
    optimizer.step()
    assert type(layer) is nn.Linear and layer.in_features == 4
    assert layer(torch.ones(2, 4)).sum() < before


def test_state_gives_lazy_layers_their_shapes():
    layer = nn.LazyConv2d(3, 2)
    layer.load_state_dict(nn.Conv2d(5, 3, 2).state_dict())
    assert layer.weight.shape == (3, 5, 2, 2) and not layer.has_uninitialized_params()


@pytest.mark.parametrize("batch_first", [True, False])
def test_padded_keys_change_nothing(batch_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first).eval()
    x = torch.randn(2, 5, 8)
    hidden = torch.zeros(2, 5, dtype=torch.bool)
    hidden[:, 3:] = True

    def run(x, hidden=None):
        if batch_first:
            return layer(x, src_key_padding_mask=hidden)
        return layer(x.transpose(0, 1), src_key_padding_mask=hidden).transpose(0, 1)

    other = torch.cat([x[:, :3], torch.randn(2, 2, 8)], 1)
    near(run(x, hidden)[:, :3], run(other, hidden)[:, :3])
    near(run(x, hidden)[:, :3], run(x[:, :3]))


def test_causal_decoders_look_back_only():
    model = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True), 2).eval()
    x, memory = torch.randn(1, 4, 8), torch.randn(1, 3, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    near(model(x, memory, tgt_mask=mask)[:, :2], model(x[:, :2], memory, tgt_mask=mask[:2, :2]))


def test_weights_of_attention_sum_to_one():
    _, weights = nn.MultiheadAttention(8, 2, add_zero_attn=True)(*[torch.randn(5, 3, 8)] * 3)
    near(weights.sum(-1), torch.ones(3, 5))
    assert weights.shape == (3, 5, 6)


def test_probabilities_in_clusters_sum_to_one():
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], 2.0)
    x = torch.randn(6, 8)
    log_p = layer.log_prob(x)
    near(log_p.exp().sum(1), torch.ones(6))
    target = torch.arange(6) * 3
    near(layer(x, target).output, log_p.gather(1, target.unsqueeze(1)).squeeze(1))
    assert layer.predict(x).tolist() == log_p.argmax(1).tolist()


def test_chunks_give_the_same_loss():
    x, w = torch.randn(7, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    y = torch.randint(5, (7,))
    results = []
    for options in (None, nn.LinearCrossEntropyOptions(batch_chunk_size=3)):
        loss = nn.functional.linear_cross_entropy(x, w, y, options=options)
        results.append([loss, *torch.autograd.grad(loss, [x, w])])
    for a, b in zip(*results):
        near(a, b)

    def loss(x, w):
        options = nn.LinearCrossEntropyOptions(batch_chunk_size=3)
        return nn.functional.linear_cross_entropy(x, w, y, options=options)

    assert torch.autograd.gradgradcheck(
        loss, [x.detach().double().requires_grad_(), w.detach().double().requires_grad_()]
    )


def test_parametrized_weights():
    layer = nn.Linear(4, 4)
    parametrizations.orthogonal(layer)
    near(layer.weight @ layer.weight.T, torch.eye(4))
    twin = copy.deepcopy(layer)
    near(twin.weight, layer.weight)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and parametrize.is_parametrized(twin)

    layer = parametrizations.spectral_norm(nn.Linear(6, 4), n_power_iterations=20)
    layer(torch.ones(1, 6))
    assert abs(float(torch.linalg.svdvals(layer.weight)[0]) - 1) < 1e-3

    layer = parametrizations.weight_norm(nn.Linear(6, 4))
    with torch.no_grad():
        layer.parametrizations.weight.original0.fill_(2.0)
    near(layer.weight.norm(dim=1), torch.full((4,), 2.0))


def test_pruned_weights_stay_zero():
    layer = prune.l1_unstructured(nn.Linear(6, 4), "weight", 0.5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    zeros = layer.weight == 0
    assert int(zeros.sum()) == 12
    layer(torch.randn(3, 6)).square().sum().backward()
    optimizer.step()
    layer(torch.randn(3, 6))
    assert torch.equal(layer.weight == 0, zeros)
    prune.remove(layer, "weight")
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]


def test_evaluation_of_batch_norm_leaves_its_statistics_alone():
    layer = nn.BatchNorm1d(3).eval()
    x = torch.randn(4, 3, requires_grad=True)
    layer(x).sum().backward()
    assert layer.running_mean.grad_fn is None and not layer.running_mean.requires_grad
    near(layer.running_mean, torch.zeros(3))


def test_places_of_layers():
    import facula.nn.modules.batchnorm as batchnorm
    from facula.nn.modules.conv import _ConvNd

    from facula.nn.modules.utils import _pair

    assert issubclass(nn.Conv2d, _ConvNd) and issubclass(nn.BatchNorm2d, batchnorm._BatchNorm) and _pair(2) == (2, 2)
    with pytest.raises(AttributeError, match="nothing"):
        batchnorm.nothing  # noqa: B018


def test_several_devices_are_refused():
    with pytest.raises(NotImplementedError, match="one device"):
        nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
