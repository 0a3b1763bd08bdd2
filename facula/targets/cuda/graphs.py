"""Recorded work: what streams are given between `begin` and `end` becomes a graph, which is started as a whole.

Memory that is taken meanwhile comes from a private pool, which stays with the graph; so does what recorded copies read
(`Graph.keep`), and what is in `Graph.before_replay` is done before each replay. Random numbers of a generator that the
graph has registered go on from replay to replay: `recorded.Recorded`.
"""

import itertools
from collections.abc import Callable
from typing import Any, NoReturn

from facula.core.device import device
from facula.core.generator import default_of
from facula.errors import AcceleratorError, caution, fail

from . import driver
from .memory import pool
from .random.recorded import Recorded

__all__ = ["MODES", "Graph", "recording", "shared_number"]

MODES = {"global": 0, "thread_local": 1, "relaxed": 2}  # of CUstreamCaptureMode
AUTO_FREE, NODE_PRIORITY, VERBOSE = 1, 8, 1  # flags of cuGraphInstantiate, of cuGraphDebugDotPrint
_own, _shared = itertools.count(1), itertools.count(1)


def shared_number() -> tuple[int, int]:
    """The number of a private pool that several graphs may share."""
    return 0, next(_shared)


def own_number() -> tuple[int, int]:
    """The number of a private pool that one graph, or one `MemPool`, was made with."""
    return next(_own), 0


def recording() -> bool:
    """Whether the current stream is being recorded."""
    return driver.gpu().stream.capture is not None


class Graph:
    """Work of the GPU that is recorded once and started many times."""

    def __init__(self, keep: bool = False):
        self.gpu, self.api, self.keep_graph = driver.gpu(), driver.api(), keep
        self.memory = pool.pool()
        self.handle: Any = None  # of the graph
        self.executable: Any = None
        self.ended = False
        self.private: pool.Private | None = None
        self.stream: driver.Stream | None = None  # that recording began on
        self.joined: list[driver.Stream] = []  # those that are recorded, too
        self.kept: list[Any] = []  # what replays need
        self.before_replay: list[Callable[[], None]] = []  # work that the current stream is given first
        self.generators: dict[int, tuple[Recorded, list[int]]] = {}  # by id; by how much the graph moves each
        self.replayed: set[driver.Stream] = set()

    # Recording

    def register(self, generator: Any) -> None:
        """Random numbers of a generator go on with each replay."""
        if id(generator) not in self.generators:
            self.generators[id(generator)] = Recorded(generator), [0]

    def begin(self, number: tuple[int, int] | None = None, mode: str = "global") -> None:
        """Record what the current stream is given from now on, with memory of a private pool."""
        if self.executable is not None:
            fail(RuntimeError, "This CUDAGraph instance already owns a captured graph. To capture a new graph, create "
                 "a new instance.")  # fmt: skip
        if mode not in MODES:
            fail(
                RuntimeError, f"Unknown capture error mode. Expected `global`, `thread_local`, or `relaxed`, got {mode}"
            )
        if not self.ended and driver.gpu() is not self.gpu:  # the GPU that is used now is the graph's
            self.gpu, self.memory = driver.gpu(), pool.pool()
        gpu = self.gpu
        gpu.enter()
        stream = gpu.stream
        if stream.key == 0:
            fail(RuntimeError, "CUDA graphs must be captured on a non-default stream. (However, after capture, it's ok "
                 "to replay them on the default stream.)")  # fmt: skip
        self.register(default_of(device("cuda", gpu.index)))
        for state, _ in self.generators.values():
            state.capture_prologue()
        self.private = self.memory.private(number or own_number())
        self.stream = stream
        gpu.captures.append(self)  # before the driver records: no event is asked for its state from here on
        self.join(stream)
        kind = self.api.CUstreamCaptureMode
        try:
            driver.good(self.api.cuStreamBeginCapture(stream.handle, kind(MODES[mode])), "cuStreamBeginCapture")
        except BaseException:
            self._leave()
            raise

    def join(self, stream: driver.Stream) -> None:
        """A stream is recorded, too: its memory comes from the private pool."""
        stream.capture, stream.arena = self, None
        driver.HERE[0] = 0  # machine code, too, takes memory elsewhere now
        self.joined.append(stream)

    def keep(self, what: Any) -> None:
        """Something must live as long as the graph."""
        self.kept.append(what)

    def refuse(self, what: str) -> NoReturn:
        """The driver's error for what cannot be recorded; as after any of its errors, recording has failed."""
        assert self.stream is not None
        self.api.cuStreamSynchronize(self.stream.handle)  # which it refuses
        fail(
            AcceleratorError,
            "CUDA error: operation not permitted when stream is capturing",
            got=what,
            mend="move it out of torch.cuda.graph(...); copies from pinned memory with non_blocking=True can be "
            "recorded",
        )

    def _leave(self) -> None:
        if self in self.gpu.captures:
            self.gpu.captures.remove(self)
            for state, moved in self.generators.values():
                moved[0] = state.capture_epilogue()
        for stream in self.joined:
            stream.capture = stream.arena = None
        driver.HERE[0] = 0
        self.joined.clear()

    def end(self) -> None:
        """Stop recording; the graph can be started from now on."""
        stream = self.gpu.stream
        if self.stream is None or self not in self.gpu.captures:
            fail(RuntimeError, "capture_end() called before capture_begin().")
        if stream.key != self.stream.key:
            fail(RuntimeError, "Capture must end on the same stream it began on.")
        answer = self.api.cuStreamEndCapture(stream.handle)
        self._leave()
        graph = driver.good(answer, "cuStreamEndCapture")
        if graph is None or not int(graph):
            fail(RuntimeError, "Invalid capture.")
        self.handle, self.ended = graph, True
        if self.nodes() == 0:
            caution("The CUDA Graph is empty. This usually means that the graph was attempted to be captured on wrong "
                    "device or stream.")  # fmt: skip
        if not self.keep_graph:
            self.instantiate()
            self._destroy_graph()

    def nodes(self) -> int:
        """How many launches, copies and other nodes were recorded."""
        return int(driver.good(self.api.cuGraphGetNodes(self.handle), "cuGraphGetNodes")[1])

    # Starting

    def instantiate(self) -> None:
        """Make the graph fit to be started, or fit again after it was changed."""
        if not self.ended:
            fail(RuntimeError, "capture_end() must have been called before calling instantiate")
        if self.executable is not None:
            if not self.keep_graph:
                fail(RuntimeError, "instantiate() is intended to be called by the user only when keep_graph=true")
            driver.good(self.api.cuGraphExecDestroy(self.executable), "cuGraphExecDestroy")
            self.executable = None
        answer = self.api.cuGraphInstantiate(self.handle, AUTO_FREE | NODE_PRIORITY)
        self.executable = driver.good(answer, "cuGraphInstantiate")

    def replay(self) -> None:
        """Start all that was recorded, in the current stream."""
        if not self.ended:
            fail(RuntimeError, "Called CUDAGraph::replay without a preceding successful capture.")
        if driver.gpu() is not self.gpu:
            with driver.current(self.gpu):
                return self.replay()
        if self.executable is None:
            self.instantiate()
        for state, (increment,) in self.generators.values():
            if increment:
                state.replay_prologue(increment)
        for write in self.before_replay:
            write()
        self.gpu.enter()
        stream = self.gpu.stream
        if stream not in self.replayed:
            self.replayed.add(stream)
        driver.good(self.api.cuGraphLaunch(self.executable, stream.handle), "cuGraphLaunch")

    def kept_graph(self) -> Any:
        """The driver's graph, where it was kept."""
        if self.handle is None:
            fail(
                RuntimeError,
                "No cudaGraph_t is available: either capture_end() has not been called, or the underlying cudaGraph_t "
                "was destroyed (keep_graph=false, and capture has been finalized).",
            )
        return self.handle

    def dump(self, path: str) -> None:
        """Write the graph as a DOT file."""
        driver.good(self.api.cuGraphDebugDotPrint(self.kept_graph(), path.encode(), VERBOSE), "cuGraphDebugDotPrint")

    # Giving back

    def _destroy_graph(self) -> None:
        if self.handle is not None:
            self.api.cuGraphDestroy(self.handle)
            self.handle = None

    def reset(self) -> None:
        """Forget what was recorded; memory that only the graph needs is given back when the cache is emptied."""
        if self in self.gpu.captures and self.stream is not None:  # recording was given up
            status, self.handle = self.api.cuStreamEndCapture(self.stream.handle)
            if int(status) != 0:
                self.handle = None
            self._leave()
        self._destroy_graph()
        if self.executable is not None:
            self.api.cuGraphExecDestroy(self.executable)  # the driver waits for replays under way
            self.executable = None
        blocks = [what for what in self.kept if hasattr(what, "record")]
        for block in (*blocks, *(state.words for state, _ in self.generators.values())):
            for stream in self.replayed:  # replays under way may still read it
                block.record(stream)
        if self.private is not None:
            self.memory.let_go(self.private)
        self.kept, self.before_replay, self.private, self.ended = [], [], None, False
        self.generators.clear()
        self.replayed.clear()

    def __del__(self):
        if hasattr(self, "replayed") and self.gpu.current:
            self.reset()
