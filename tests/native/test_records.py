"""Native constructors: the same objects as Python would make, references counted, layouts verified."""

import gc
import sys
import weakref

import pytest

from facula.core import dtype
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.native import layout, records
from facula.targets.cpu import fresh, pool


class Base:
    __slots__ = ("first", "__weakref__")


class Node(Base):
    __slots__ = ("second", "third", "_hidden", "__dict__")


class Plain:
    __slots__ = ("a", "b")


def test_slots_of_bases_too():
    assert set(layout.slots(Node)) == {"first", "second", "third", "_hidden"}
    assert len(set(layout.slots(Node).values())) == 4


def test_arguments_and_constants():
    constant = ["shared"]
    make = records.constructor(Node, ["third", "first"], {"second": constant})
    node = make("three", "one")
    assert type(node) is Node
    assert (node.first, node.second, node.third) == ("one", constant, "three")
    assert node.second is constant
    with pytest.raises(AttributeError, match="_hidden"):
        print(node._hidden)
    node._hidden = 4
    node.anything = 5
    assert node.__dict__ == {"anything": 5} and weakref.ref(node)() is node
    assert make.__name__ == "Node"


def test_references_are_counted():
    constant, value = object(), object()
    make = records.constructor(Plain, ["a"], {"b": constant})
    watched = (constant, value, Plain, make)
    before = [sys.getrefcount(x) for x in watched]
    made = [make(value) for _ in range(50)]
    count = sys.getrefcount(made[0])
    assert count == 2
    during = [sys.getrefcount(x) for x in watched]
    assert [d - b for d, b in zip(during, before)] == [50, 50, 50, 0]
    del made
    after = [sys.getrefcount(x) for x in watched]
    assert after == before


def test_cycles_are_collected():
    make = records.constructor(Node, ["first", "second", "third"])
    node = make(None, [], 3)
    node.second.append(node)
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_context_is_kept_alive():
    class Local:
        __slots__ = ("x",)

    make = records.constructor(Local, [], {"x": bytearray(b"abc")})
    del Local
    gc.collect()
    assert make().x == b"abc"


def test_bad_calls():
    make = records.constructor(Plain, ["a", "b"])
    for arguments in ((), (1,), (1, 2, 3)):
        with pytest.raises(TypeError, match=rf"Plain\(\) takes 2 positional arguments but {len(arguments)} were given"):
            make(*arguments)
    with pytest.raises(TypeError, match="keyword"):
        make(1, b=2)


def test_bad_classes():
    class Loose:
        pass

    class Looser(Base):
        pass

    for cls, arguments, defaults in (
        (Plain, ["c"], {}), (Plain, ["a", "a"], {}), (Plain, ["a"], {"a": 1}), (Loose, [], {}), (Looser, ["first"], {}),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="constructor of"):
            records.constructor(cls, arguments, defaults)


def test_empty():
    spec = dense(dtype.float32, (3, 5))
    tensor = fresh.empty(spec)
    assert type(tensor) is Tensor and tensor.spec is spec
    assert tensor.storage.nbytes == 60 and tensor.ptr == tensor.storage.ptr and tensor.storage.device is spec.device
    assert (tensor.needs_grad, tensor.edge, tensor.base, tensor.seen, tensor.extra, tensor._grad) == (
        False,
        None,
        None,
        0,
        None,
        None,
    )
    assert tensor.__dict__ == {} and weakref.ref(tensor)() is tensor
    assert set(layout.slots(Tensor)) == {"spec", "storage", "ptr", *records.TENSOR_DEFAULTS}


def test_empty_of_no_elements():
    tensor = fresh.empty(dense(dtype.float64, (0, 3)))
    assert tensor.storage.nbytes == 0 and tensor.ptr == tensor.storage.ptr != 0


def test_view():
    spec, row = dense(dtype.float32, (3, 5)), dense(dtype.float32, (5,))
    tensor = fresh.empty(spec)
    view = records.view(row, tensor.storage, tensor.ptr + 20, tensor, 7)
    assert (view.spec, view.storage, view.ptr, view.base, view.seen) == (
        row,
        tensor.storage,
        tensor.ptr + 20,
        tensor,
        7,
    )
    assert view.needs_grad is False and view.edge is None and view._grad is None


def test_empty_counts_references():
    spec = dense(dtype.float32, (7, 11))
    watched = [spec, spec.device, Tensor, Spec, None, False]
    fresh.empty(spec)
    before = [sys.getrefcount(x) for x in watched]
    blocks = pool.memory_stats()["blocks_in_use"]
    made = [fresh.empty(spec) for _ in range(40)]
    counts = [sys.getrefcount(x) for x in (made[0], made[0].storage, made[0].storage.owner, made[0].ptr)]
    assert counts == [4, 4, 4, 5]  # tuple, loop and call hold three; the address is in the tensor and its storage
    del made
    after = [sys.getrefcount(x) for x in watched]
    assert after[:4] == before[:4] and all(abs(a - b) < 20 for a, b in zip(after, before))  # others use None, too
    assert pool.memory_stats()["blocks_in_use"] == blocks


def test_many_cycles_do_not_grow():
    spec = dense(dtype.float32, (100, 100))
    for _ in range(100):
        fresh.empty(spec)
    before, objects = pool.memory_stats(), len(gc.get_objects())
    for _ in range(100_000):
        fresh.empty(spec)
    after = pool.memory_stats()
    assert after["blocks_fresh"] == before["blocks_fresh"] and after["bytes_in_use"] == before["bytes_in_use"]
    assert abs(len(gc.get_objects()) - objects) < 50


def test_empty_in_a_subclass_position():
    class Kind(Spec):
        __slots__ = ()

    for bad in (3, None, "x", Kind(), Spec()):
        with pytest.raises(TypeError, match=r"empty\(\) expects a Spec"):
            fresh.empty(bad)
    with pytest.raises(TypeError, match=r"empty\(\) takes 1 positional arguments but 2 were given"):
        fresh.empty(1, 2)


def test_empty_without_memory():
    with pytest.raises(RuntimeError, match="you tried to allocate 4000000000000000 bytes"):
        fresh.empty(dense(dtype.float32, (10**15,)))
    with pytest.raises(
        RuntimeError, match=r"Storage size calculation overflowed with sizes=\[1152921504606846976, 1024\]"
    ):
        fresh.empty(dense(dtype.float32, (2**60, 2**10)))
    assert fresh.empty(dense(dtype.float32, (2,))).storage.nbytes == 8
