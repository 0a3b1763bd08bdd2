"""Launches from machine code: what the driver is given, threads and their streams, blocks that machine code keeps."""

import ctypes
import gc
import inspect
import sys
import threading

import numpy as np
import pytest

import facula as torch
from facula.operators import elementwise, joining
from facula.targets.cuda import code, driver, functions, launcher, tickets
from facula.targets.cuda.memory import leases, pool
from facula.targets.cuda.texts import schedule
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed, python_calls
from tests.targets.cuda.kernels import add, take
from tests.targets.kernels import access

_BOXES = {"float": ctypes.c_float, "double": ctypes.c_double, "int": ctypes.c_int}


class Written(FakeDriver):
    """Runs nothing: it keeps what each launch was given."""

    def __init__(self, memory: int = 64 << 20):
        super().__init__(None, memory)
        self.launches: list[tuple] = []  # name, grid, block, stream, values
        self.kinds: dict[int, list[str]] = {}  # by handle
        self.answer = 0
        self.lock = threading.Lock()

    def cuLaunchKernel(self, handle, gx, gy, gz, bx, by, bz, shared, stream, table, extra):
        if not self.context:
            return (201,)
        program = FUNCTIONS[handle]
        kinds = self.kinds.get(handle) or self.kinds.setdefault(handle, [kind for kind, _ in program.takes])
        places = (ctypes.c_void_p * len(kinds)).from_address(table)
        values = [_BOXES.get(kind, ctypes.c_int64).from_address(place or 0).value for kind, place in zip(kinds, places)]
        with self.lock:
            self.launches.append((program.name, (gx, gy), (bx, by), stream, values))
        return (self.answer,)


@pytest.fixture
def fake(monkeypatch):
    with installed(Written(), monkeypatch) as found:
        yield found


def whole(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def sample() -> functions.Program:
    kinds = ("float*", "int", "long long", "float", "double", "const int*")
    return functions.written("sample", [(kind, f"a{i}") for i, kind in enumerate(kinds)], "")


def in_use() -> int:
    """Blocks that somebody has."""
    torch.cuda.init()
    gc.collect()
    return torch.cuda.memory_stats()["active.all.current"]


def on_gpu(*shape: int, dtype=torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="cuda")


# --- one launch -------------------------------------------------------------------------------------------------------


def test_arguments_of_each_type(fake):
    functions.function(sample)((2, 3), (4, 5), 1 << 40, -7, -(2**62), 0.1, 0.2, 0)
    functions.function(sample)((1, 1), (1, 1), True, np.int32(3), 0, 2, np.float32(0.5), 8)
    (name, grid, block, stream, values), second = fake.launches
    assert (name, grid, block, stream) == ("sample", (2, 3), (4, 5), 0)
    assert values == [1 << 40, -7, -(2**62), ctypes.c_float(0.1).value, 0.2, 0]
    assert second[-1] == [1, 3, 0, 2.0, 0.5, 8]
    assert functions.function(sample) is functions.function(sample)


def test_wrong_arguments(fake):
    f = functions.function(sample)
    good = (0, 0, 0, 0.0, 0.0, 0)
    with pytest.raises(TypeError, match=r"^sample\(\) takes 6 numbers"):
        f((1, 1), (1, 1), *good[:5])
    for place, bad in ((0, "a"), (1, 1.5), (3, "a"), (4, None)):
        with pytest.raises(TypeError, match=r"^sample\(\) takes 6 numbers: .*(str|float|None)"):
            f((1, 1), (1, 1), *good[:place], bad, *good[place + 1 :])
    with pytest.raises(OverflowError):
        f((1, 1), (1, 1), 2**63, *good[1:])
    assert not fake.launches
    many = functions.written("many", [("int", f"a{i}") for i in range(launcher.MOST + 1)], "")
    with pytest.raises(TypeError, match="161 arguments"):
        functions.Function(many)


def test_a_refused_launch(fake):
    fake.answer = 1
    with pytest.raises(RuntimeError, match="^CUDA error: invalid argument") as found:
        functions.function(sample)((1, 1), (1, 1), 0, 0, 0, 0.0, 0.0, 0)
    assert "from cuLaunchKernel" in whole(found.value)


def test_sizes_find_their_launch(fake):
    """Of more sizes than are remembered, in an order that has them met again."""
    kernel = add()
    function = code.compile(kernel, access(kernel, (8,), (), [(1,)] * 3))
    sizes = [1 + 97 * (k * 61 % 1500) for k in range(1500)]
    for n in (*sizes, *sizes[::7], 2**31):
        function(0, 0, 0, n)
        _, grid, block, _, values = fake.launches[-1]
        wide = n >= schedule.NARROW
        program = code._CODES[function].text((n,)).program
        assert ("typedef long long Index" in program.body) == wide
        ((want,), _) = schedule.launches(program, (n,))
        assert (grid, block, values[-1]) == (want.grid, want.block, n)
    assert len(fake.launches) == len(sizes) + len(sizes[::7]) + 1


def test_nothing_is_launched_for_no_elements(fake):
    kernel = add()
    function = code.compile(kernel, access(kernel, (8,), (), [(1,)] * 3))
    for _ in range(3):
        function(0, 0, 0, 0)
    assert not fake.launches


# --- calls that repeat ------------------------------------------------------------------------------------------------


def test_a_known_call_runs_no_python(fake):
    a, b, g = on_gpu(7), on_gpu(7), on_gpu(7).requires_grad_()
    for operator in (elementwise.add, elementwise.mul):
        operator.operator.known().clear()  # calls of other tests may take their places in the table
    for _ in range(3):
        a + b, g * b, a.relu()
    before = len(fake.launches)
    known = elementwise.mul.operator.known()
    assert python_calls(lambda: known.run(a, b)) == []
    assert python_calls(lambda: known.run(g, b)) == []
    assert set(python_calls(lambda: a + b)) <= {"entry"}, "the method alone"
    name, grid, block, stream, values = fake.launches[-1]
    assert len(fake.launches) == before + 3 and (grid, stream) == ((1, 1), 0)
    assert values[1:3] == [a.data_ptr(), b.data_ptr()] and values[3] == 7


def test_both_devices_are_known_to_an_operator(fake):
    a, b = torch.ones(3, 29), torch.ones(3, 29)
    x, y = on_gpu(3, 29), on_gpu(3, 29)
    elementwise.mul.operator.known().clear()
    for left, right in ((a, b), (x, y)) * 2:
        elementwise.mul(left, right)
    run = elementwise.mul.operator.known().run
    assert run(a, b).tolist() == [[1.0] * 29] * 3
    assert run(x, y).device == torch.device("cuda:0") and fake.launches[-1][-1][1:3] == [x.data_ptr(), y.data_ptr()]
    assert run(a, y) is None and run(x, b) is None


def test_recorded_calls_have_nodes_and_backward_is_known(fake):
    g, b = on_gpu(5, 3).requires_grad_(), on_gpu(5, 3)
    for _ in range(4):
        out = g * b
        node = out.grad_fn
        assert out.requires_grad and node.name() == "MulBackward0" and node.next_functions[0][0].variable is g
        out.backward(b)
    assert type(node.back.pull) is type(len) and g.grad.shape == (5, 3)
    kept = weak = torch.exp(g)
    kept.backward(b)
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        weak.backward(b)


def test_a_refused_launch_leaves_nothing_behind(fake):
    g, b = on_gpu(5).requires_grad_(), on_gpu(5)
    for _ in range(3):
        g * b
    used, versions = in_use(), (g._version, b._version)
    fake.answer = 1
    with pytest.raises(RuntimeError, match="^CUDA error: invalid argument"):
        g * b
    with pytest.raises(RuntimeError, match="^CUDA error: invalid argument"):
        torch.relu(b)
    fake.answer = 0
    assert in_use() == used and (g._version, b._version) == versions
    assert (g * b).grad_fn is not None


def test_known_products_and_convolutions_of_generated_kernels(fake):
    x, w, table = on_gpu(1, 3, 5, 5), on_gpu(8, 3, 3, 3), on_gpu(64, 64, dtype=torch.int32)
    for _ in range(3):
        torch.conv2d(x, w), table @ table
    before = len(fake.launches)
    made = []
    ran = python_calls(lambda: made.extend([torch.conv2d(x, w), table @ table]))
    assert {*ran} == {"forward", "_apply", "entry"}
    (first, *_, values), (second, *_, others) = fake.launches[before:]
    assert (first, second) == ("facula_convolution", "facula_product")
    assert values[:4] == [made[0].data_ptr(), x.data_ptr(), w.data_ptr(), 0]
    assert others[:4] == [made[1].data_ptr(), table.data_ptr(), table.data_ptr(), 0]


def test_tables_of_optimizers_are_copied_once(fake):
    weight = on_gpu(8).requires_grad_()
    weight.grad = on_gpu(8)
    step = torch.optim.SGD([weight], lr=0.1).step
    copies, starts = lambda: len(fake.named("cuMemcpyHtoDAsync")), lambda: len(fake.launches)
    step()
    copied, started = copies(), starts()
    step(), step()
    assert (copies(), starts()) == (copied, started + 2)
    weight.grad = on_gpu(8)  # while the other one is there: its memory is another's
    step()
    assert (copies(), starts()) == (copied + 1, started + 3)
    with torch.cuda.stream(torch.cuda.Stream()):
        step()  # nothing orders it after the copies
    assert copies() == copied + 2


def test_joined_pieces(fake):
    parts = [on_gpu(2, 3), on_gpu(4, 3)]
    for _ in range(3):
        torch.cat(parts)
    out = joining._CATS.memos[2].run(*parts, 0)
    written = [values for *_, values in fake.launches[-2:]]
    assert out.shape == (6, 3) and [v[0] - out.data_ptr() for v in written] == [0, 24]
    assert [v[1] for v in written] == [p.data_ptr() for p in parts]


def test_launches_with_checks_are_numbered(fake):
    """Each knows its kernel and the line that it came from, whoever made it."""
    table, index = on_gpu(7, 4), torch.zeros(3, dtype=torch.int64, device="cuda")
    known = []
    for _ in range(4):
        torch.nn.functional.embedding(index, table)
        known.append(fake.launches[-1][-1][-2:])
    first = inspect.currentframe().f_lineno - 2
    name, *_, values = fake.launches[-1]
    assert name == "facula_embedding" and values[1:3] == [table.data_ptr(), index.data_ptr()]
    status, numbers = {row[0] for row in known}, [row[1] for row in known]
    assert len(status) == 1 and 0 not in status and numbers == list(range(numbers[0], numbers[0] + 4))
    for number in numbers:
        kernel, where = tickets.called(number)
        assert kernel.name == "embedding" and kernel.checks and where == f"{__file__}:{first}"
    for _ in range(tickets.KEPT):
        torch.nn.functional.embedding(index, table)
    assert tickets.called(numbers[-1]) is None and tickets.called(numbers[-1] + tickets.KEPT) is not None


def test_a_kernel_with_checks_runs_no_python(fake):
    kernel = take()
    how = access(kernel, (5,), (), [(1,)] * len(kernel.operands))
    function = code.compile(kernel, how)
    made = code._CODES[function]
    sizes = (5, *[1] * (made.sizes - 1))
    values = (*[0] * made.head, *sizes)
    function(*values)
    before = sys.getrefcount(kernel)
    assert python_calls(lambda: [function(*values) for _ in range(10)]) == []
    assert sys.getrefcount(kernel) == before + 10, "the ring has each"
    owner = made.settle(sizes).owner
    count = sys.getrefcount(owner)
    function(*values)
    assert sys.getrefcount(owner) == count
    fake.answer = 1
    with pytest.raises(RuntimeError, match="^CUDA error: invalid argument"):
        function(*values)
    assert sys.getrefcount(owner) == count


def test_launches_with_all_but_addresses_settled(fake):
    """Parts of several functions, by how each argument comes; others where an address that counts is odd."""
    kinds = ("float*", "float", "void*", "int"), ("double", "void*", "float*", "const float*", "long long")
    first, second = (
        functions.Function(functions.written(name, [(kind, f"a{i}") for i, kind in enumerate(each)], ""))
        for name, each in zip(("one", "two"), kinds)
    )
    a, b = (launcher.given(i) for i in range(2))
    room = launcher.Room()
    front, back = room.take(100), room.take(1000)
    instead = launcher.chain([first.part((1, 1), (2, 1), b, 0.25, 0, 3)], 2)
    parts = [first.part((1, 2), (3, 4), a, 0.5, front, -7), second.part((5, 6), (7, 8), 0.1, back, b, a, 1 << 40)]
    settled = launcher.chain(parts, 2, room.size, None, instead, 0b10)
    run = launcher.started(settled, "both")
    run(33, 48)
    assert python_calls(lambda: (run(33, 48), run(32, 49))) == []
    (one, *way, values), (two, *other, more), odd = fake.launches[2:]
    scratch = values[2]
    assert (one, two) == ("one", "two") and way[:2] == [(1, 2), (3, 4)] and other[:2] == [(5, 6), (7, 8)]
    assert values == [33, 0.5, scratch, -7] and more == [0.1, scratch + 512, 48, 33, 1 << 40] and scratch
    assert room.size == 1536
    assert odd[:3] == ("one", (1, 1), (2, 1)) and odd[-1] == [49, 0.25, 0, 3]
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        run(1, 2, 3)
    with pytest.raises(TypeError, match="two\\(\\) takes 5 numbers"):
        second.part((1, 1), (1, 1), 1)
    fake.answer = 1
    with pytest.raises(RuntimeError, match="^CUDA error: invalid argument"):
        run(32, 48)


def test_long_rows_are_summed_in_two_launches(fake):
    x = on_gpu(1 << 20)
    for _ in range(3):
        x.sum()
    modes = [values[-1] for *_, values in fake.launches[-2:]]
    scratch = {values[-3] for *_, values in fake.launches[-2:]}
    assert modes == [schedule.PIECE, schedule.COMBINE] and len(scratch) == 1 and 0 not in scratch
    p = pool.pool()
    used = p.now()
    for _ in range(3):
        out = x.sum()
        (*_, first), (*_, second) = fake.launches[-2:]
        assert (first[0], second[0]) == (out.data_ptr(),) * 2 and first[1:-1] == second[1:-1]
        assert (first[-1], second[-1]) == (schedule.PIECE, schedule.COMBINE) and first[-3] not in (0, out.data_ptr())
    del out
    assert p.now() == used, "scratch memory is given back"


# --- threads ----------------------------------------------------------------------------------------------------------


def in_thread(body) -> None:
    trouble = []

    def run():
        try:
            body()
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]


def test_the_stream_is_a_threads_own(fake):
    a, b = on_gpu(7), on_gpu(7)
    for _ in range(3):
        a + b
    mine = torch.cuda.Stream()
    with torch.cuda.stream(mine):
        a + b
        assert fake.launches[-1][3] == mine._own.key != 0

        def other():
            assert torch.cuda.current_stream() == torch.cuda.default_stream()
            a + b
            assert fake.launches[-1][3] == 0
            own = torch.cuda.Stream()
            with torch.cuda.stream(own):
                a + b
                assert fake.launches[-1][3] == own._own.key
            a + b
            assert fake.launches[-1][3] == 0

        in_thread(other)
        assert torch.cuda.current_stream() == mine
        a + b
        assert fake.launches[-1][3] == mine._own.key
    a + b
    assert fake.launches[-1][3] == 0


def test_each_thread_enters_the_context(fake):
    """Thread states are at the addresses of those that are gone; a launch without a context is refused."""
    a, b = on_gpu(7), on_gpu(7)
    for _ in range(3):
        a + b
    before = len(fake.named("cuCtxSetCurrent"))
    for _ in range(20):
        in_thread(lambda: [a + b for _ in range(3)])
    assert len(fake.named("cuCtxSetCurrent")) == before + 20


def test_threads_at_once(fake):
    """Each of several threads sees its own stream in all of its launches, whoever ran between."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    wrong, barrier = [], threading.Barrier(4)
    try:

        def work(number: int) -> None:
            own = torch.cuda.Stream()
            x = on_gpu(11 + number)
            barrier.wait()
            with torch.cuda.stream(own):
                for _ in range(200):
                    y = x * 2.0
                    launched = [
                        one for one in fake.launches if one[-1][0] == y.data_ptr() and one[-1][-1] == 11 + number
                    ]
                    if not launched or launched[-1][3] != own._own.key:
                        wrong.append((number, launched[-1:]))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong and len(fake.launches) >= 800


# --- blocks that machine code keeps -----------------------------------------------------------------------------------


def test_small_blocks_are_used_again_without_the_pool(fake):
    first = on_gpu(100)
    place = first.data_ptr()
    assert type(first.storage.owner).__name__ == "Lease" and first.storage.owner.ptr == place
    assert leases.block_of(first.storage.owner).ptr == place
    del first
    assert on_gpu(128).data_ptr() == place, "the same multiple of 512 bytes"
    assert "take" not in python_calls(lambda: on_gpu(100))
    held = [on_gpu(100)]
    assert "take" in python_calls(lambda: held.append(on_gpu(100)))
    assert len({t.data_ptr() for t in held}) == 2
    assert on_gpu(200).data_ptr() not in {t.data_ptr() for t in held}
    assert on_gpu(0).storage.owner is None


def test_large_blocks_are_used_again_without_the_pool(fake):
    size = 3 << 20
    first = on_gpu(size // 4)
    place, block = first.data_ptr(), leases.block_of(first.storage.owner)
    assert type(first.storage.owner).__name__ == "Lease" and block.chunk.note[0] is first.spec
    del first
    assert block.chunk.note is None and torch.cuda.memory_allocated() == 0
    held = []
    assert "take" not in python_calls(lambda: held.append(on_gpu(size // 4 - 1)))
    (second,) = held
    assert second.data_ptr() == place, "the same multiple of 512 bytes"
    spec, line = block.chunk.note
    assert spec is second.spec and tickets.line_of(line).startswith(__file__)
    assert torch.cuda.memory_allocated() == size
    held.clear()
    del second
    assert pool.pool().kept.kinds() == ((0, 0), (size, 1))


def test_large_blocks_join_where_none_fits(fake):
    """What machine code keeps of large blocks goes back before the driver is asked for more."""
    parts = [on_gpu(1 << 20) for _ in range(4)]  # of one segment of 20 MiB
    lowest, reserved = min(p.data_ptr() for p in parts), torch.cuda.memory_reserved()
    assert reserved == 20 << 20
    parts.clear()
    whole = on_gpu(4 << 20)
    assert whole.data_ptr() == lowest and torch.cuda.memory_reserved() == reserved
    assert pool.pool().kept.kinds() == ((0, 0), (0, 0))


def test_more_large_sizes_than_are_remembered(fake):
    """A block is never given out for more than it was taken for."""
    torch.cuda.init()
    random, held = np.random.default_rng(1), []
    sizes = [(1 << 20) + 512 * int(k) for k in random.permutation(3 * leases.WAYS)]
    for _ in range(2000):
        if len(held) > 6 or held and random.random() < 0.5:
            held.pop(random.integers(len(held)))
        else:
            wanted = sizes[random.integers(len(sizes))]
            held.append(torch.empty(wanted, dtype=torch.uint8, device="cuda"))
            block = leases.block_of(held[-1].storage.owner)
            assert block.size >= wanted and held[-1].data_ptr() == block.ptr
        spans = sorted((t.data_ptr(), t.data_ptr() + t.nbytes) for t in held)
        assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))
    used = sum(leases.block_of(t.storage.owner).size for t in held)
    assert torch.cuda.memory_allocated() == used
    del block
    held.clear()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() == torch.cuda.memory_reserved() == 0


def test_streams_keep_their_own(fake):
    first = on_gpu(100)
    place = first.data_ptr()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        del first
        other = on_gpu(100)
        assert other.data_ptr() != place
    back = other.data_ptr()
    del other
    assert on_gpu(100).data_ptr() == place
    with torch.cuda.stream(stream):
        assert on_gpu(100).data_ptr() == back


def test_counts_and_peaks_are_those_of_living_tensors(fake):
    torch.cuda.init()
    random, held, most = np.random.default_rng(0), [], 0
    for step in range(3000):
        if held and random.random() < 0.5:
            held.pop(random.integers(len(held)))
        else:
            held.append(on_gpu(int(random.choice([1, 100, 300, 5000, 200_000, 300_000, 300_100, 700_000]))))
        sizes = [leases.block_of(t.storage.owner).size for t in held]
        most = max(most, sum(sizes))
        if step % 500 == 0:
            torch.cuda.reset_peak_memory_stats()
            most = sum(sizes)
        if step % 700 == 0:
            torch.cuda.empty_cache()
        if step % 3 == 0:
            assert torch.cuda.memory_allocated() == sum(sizes)
            assert torch.cuda.max_memory_allocated() == most
        if step % 50 == 0:
            stats = torch.cuda.memory_stats()
            assert stats["active.all.current"] == len(sizes) <= stats["active.all.peak"]
            assert stats["allocated_bytes.all.peak"] == most
    held.clear()
    assert torch.cuda.memory_allocated() == 0


def test_what_is_kept_goes_back_to_the_pool(fake):
    p, before = pool.pool(), in_use()
    tensors = [on_gpu(100) for _ in range(5)]
    places = {t.data_ptr() for t in tensors}
    del tensors
    assert list(p.kept.words)[:2] == [5 * 512, 5] and in_use() == before
    torch.cuda.empty_cache()
    assert list(p.kept.words)[:2] == [0, 0] and in_use() == before
    assert {p.take(400).ptr} <= places


def test_a_block_of_several_streams_goes_back_to_the_pool(fake):
    p = pool.pool()
    x = on_gpu(100)
    place = x.data_ptr()
    leases.detach(x.storage.owner)
    del x
    assert list(p.kept.words)[:2] == [0, 0] and in_use() == 0
    assert p.take(100).ptr == place


def test_no_memory(fake):
    held = [on_gpu(1 << 18) for _ in range(31)]
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"):
            held += [on_gpu(1 << 18) for _ in range(64)]
    x, y = held[0], held[1]
    used = in_use()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        z = [x + y for _ in range(100)]
        del z
    del held[2:]
    assert in_use() <= used and (x + y).shape == x.shape


def test_references_are_counted(fake):
    a, b = on_gpu(9), on_gpu(9)
    for _ in range(3):
        a * b
    spec, where = (a * b).spec, a.storage.device
    before = sys.getrefcount(spec), sys.getrefcount(where), sys.getrefcount(None)
    for _ in range(500):
        a * b
        on_gpu(9)
        on_gpu(0)
    after = sys.getrefcount(spec), sys.getrefcount(where), sys.getrefcount(None)
    assert all(abs(x - y) < 50 for x, y in zip(before, after)), (before, after)


def test_the_words_are_reset_with_the_driver(fake, monkeypatch):
    a, b = on_gpu(7), on_gpu(7)
    for _ in range(3):
        a + b
    assert driver.HERE[0] != 0
    with installed(Written(), monkeypatch) as other:
        assert driver.HERE[0] == 0
        x = on_gpu(7)
        x + x
        assert len(other.launches) == 1 and other._inside(x.data_ptr(), 28)
    assert driver.HERE[0] == 0
