"""The state of random streams: PyTorch's layout, seeds, errors, copies."""

import copy
import json
import pickle
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from facula.core.generator import DEFAULT_SEED, Generator, default_generator
from facula.core.mersenne import LEGACY_SIZE

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "random_streams.json").read_text())


def same(a: Generator, b: Generator) -> None:
    np.testing.assert_array_equal(a.legacy_state(), b.legacy_state())


def test_state_after_seeding_is_pytorchs():
    state = Generator().manual_seed(77).legacy_state()
    assert state.dtype == np.uint8 and state.shape == (LEGACY_SIZE,) == (5056,)
    recorded = RECORDED["states"][0]
    assert recorded["after"] == "manual_seed(77)"
    assert blake2b(state.tobytes(), digest_size=16).hexdigest() == recorded["digest"]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_words_are_those_of_mt19937(seed):
    engine = np.random.MT19937()
    engine._legacy_seeding(seed)
    words = Generator().manual_seed(seed).legacy_state()[24 : 24 + 8 * 624].view(np.uint64)
    np.testing.assert_array_equal(words, engine.state["state"]["key"])


def test_new_generators_have_pytorchs_default_seed():
    assert Generator().initial_seed() == DEFAULT_SEED == 67280421310721
    assert str(Generator().device) == "cpu" and str(Generator(device="cpu").device) == "cpu"


@pytest.mark.parametrize(("seed", "kept"), [(5, 5), (-1, 2**64 - 1), (2**64 - 1, 2**64 - 1), (-(2**63), 2**63)])
def test_seeds(seed, kept):
    generator = Generator()
    assert generator.manual_seed(seed) is generator
    assert generator.initial_seed() == kept
    assert Generator().manual_seed(np.int64(7)).initial_seed() == 7


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_seeds_out_of_range(seed):
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        Generator().manual_seed(seed)


@pytest.mark.parametrize(("seed", "name"), [(1.5, "float"), ("a", "str"), (True, "bool"), (None, "NoneType")])
def test_seeds_of_other_types(seed, name):
    with pytest.raises(RuntimeError, match=f"manual_seed expected a long, but got {name}"):
        Generator().manual_seed(seed)


def test_seed_differs_each_time():
    generator = Generator()
    seeds = {generator.seed() for _ in range(8)}
    assert len(seeds) == 8 and generator.initial_seed() in seeds
    assert default_generator.initial_seed() != DEFAULT_SEED


def test_state_goes_round():
    a, b = Generator().manual_seed(3), Generator()
    b.load_legacy_state(a.legacy_state())
    same(a, b)
    b.load_legacy_state(a.legacy_state().tobytes())
    same(a, b)
    for copied in (a.clone_state(), copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        same(a, copied)
        copied.manual_seed(4)
        assert a.initial_seed() == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [(slice(12, 16), 0), (slice(8, 12), 0), (slice(9, 10), 3), (slice(17, 18), 3), (slice(16, 17), 1)],
)
def test_states_that_are_none(field, value):
    """Not seeded; nothing left to count; left, next, or both together, more than there are words."""
    state = Generator().manual_seed(3).legacy_state()
    if field == slice(16, 17):
        state[8:10] = (0x70, 0x02)  # left = 624, so that next must be 0 or 1
        state[16] = 2
    else:
        state[field] = value
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        Generator().load_legacy_state(state)


def test_states_of_other_size_or_type():
    with pytest.raises(RuntimeError, match="Expected a CPUGeneratorImplState of size 5056 but found .* to be 10"):
        Generator().load_legacy_state(np.zeros(10, np.uint8))
    with pytest.raises(TypeError, match="RNG state must be a torch.ByteTensor"):
        Generator().load_legacy_state(np.zeros(5056, np.float32))


def test_other_devices_and_offsets():
    with pytest.raises(RuntimeError, match="Device type CUDA is not supported for torch.Generator"):
        Generator("cuda")
    for call in (Generator().get_offset, lambda: Generator().set_offset(1)):
        with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
            call()
