"""Plans of the real cuDNN for all kinds of graphs, for GPUs that need not be here; needs the library and g++.

python -m tests.targets.cuda.dnn_library            all of them, some minutes
python -m tests.targets.cuda.dnn_library --few      a convolution and an attention of each kind

cuDNN makes a plan from the properties of a GPU: it checks the graph, chooses an engine and compiles its kernels. Where
there is no driver, a library of that name whose functions fail, but for those that load machine code, is enough.
"""

import ctypes
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from facula.core import dtype as dt
from facula.core.device import device
from facula.core.shape import channels_last_strides, contiguous_strides
from facula.core.spec import spec
from facula.targets.cuda.libraries import dnn_api, dnn_attention, dnn_convolution, dnn_graph
from facula.targets.cuda.libraries.dnn_graph import Policy

NO_DEVICE = 100  # of CUresult
LOADING = ("cuLibraryLoadData", "cuLibraryGetKernel", "cuKernelGetFunction", "cuModuleLoadData", "cuModuleLoadDataEx",
           "cuModuleGetFunction")  # fmt: skip
SETTING = ("cuKernelSetAttribute", "cuFuncSetAttribute", "cuLibraryUnload", "cuModuleUnload")
SHARED = {
    "driverVer": 13000,
    "maxGridSize": [2**31 - 1, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "warpSize": 32,
    "maxSharedMemoryPerBlock": 49152,
    "reservedSharedMemoryPerBlock": 1024,
    "maxRegistersPerSM": 65536,
    "pciDeviceId": 0,
    "maxCtasPerSM": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "cudaDeviceId": 0,
    "oversizedSharedMemoryPerBlock": 0,
}
GPUS = {
    "sm_90": {
        **SHARED,
        "deviceName": "NVIDIA H200",
        "deviceVer": 900,
        "multiProcessorCount": 132,
        "smClockRateKHz": 1980000,
        "memClockRateKHz": 3201000,
        "memoryBusWidth": 6144,
        "l2CacheSize": 62914560,
        "maxSharedMemoryPerBlockOptin": 232448,
        "totalGlobalMem": 150754820096,
    },
    "sm_80": {
        **SHARED,
        "deviceName": "NVIDIA A100-SXM4-80GB",
        "deviceVer": 800,
        "multiProcessorCount": 108,
        "smClockRateKHz": 1410000,
        "memClockRateKHz": 1593000,
        "memoryBusWidth": 5120,
        "l2CacheSize": 41943040,
        "maxSharedMemoryPerBlockOptin": 166912,
        "totalGlobalMem": 84974239744,
    },
}
CONVOLUTIONS = {
    "plain": ((8, 64, 32, 32), (128, 64, 3, 3), (8, 128, 32, 32), (1, 1), (1, 1), (1, 1)),
    "strided": ((8, 64, 32, 32), (128, 64, 3, 3), (8, 128, 16, 16), (2, 2), (1, 1), (1, 1)),
    "dilated": ((8, 64, 32, 32), (128, 64, 3, 3), (8, 128, 28, 28), (1, 1), (0, 0), (2, 2)),
    "grouped": ((8, 64, 32, 32), (128, 16, 3, 3), (8, 128, 32, 32), (1, 1), (1, 1), (1, 1)),
    "depthwise": ((8, 64, 32, 32), (64, 1, 3, 3), (8, 64, 32, 32), (1, 1), (1, 1), (1, 1)),
    "odd sizes": ((3, 3, 17, 13), (5, 3, 3, 2), (3, 5, 9, 6), (2, 2), (1, 0), (1, 1)),
    "one dim": ((8, 64, 32), (128, 64, 3), (8, 128, 32), (1,), (1,), (1,)),
    "three dims": ((2, 16, 8, 8, 8), (32, 16, 3, 3, 3), (2, 32, 8, 8, 8), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}
ATTENTIONS = {
    "plain": {},
    "causal": {"causal": True},
    "shared heads": {"kv_heads": 2, "causal": True},
    "odd sizes": {"queries": 255, "keys": 77, "causal": True},
    "rows before heads": {"turned": True, "causal": True},
    "wider features": {"depth": 128, "width": 128},
    "bias": {"bias": True},
    "bias, causal": {"bias": True, "causal": True, "kv_heads": 2},
}


def stand_in(folder: Path) -> None:
    """Load a library with the name of the driver's where there is none; the process keeps it."""
    try:
        ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass
    from cuda.bindings import driver

    names = {f"{name}{version}" for name in dir(driver) if name[:2] == "cu" and name[2:3].isupper()
             for version in ("", "_v2", "_v3", "_v4")}  # fmt: skip
    text = {name: f"int {name}(void) {{ return {NO_DEVICE}; }}" for name in names}
    text["cuDriverGetVersion"] = "int cuDriverGetVersion(int* version) { *version = 13000; return 0; }"
    text.update({name: f"int {name}(void** made) {{ *made = (void*)16; return 0; }}" for name in LOADING})
    text.update({name: f"int {name}(void) {{ return 0; }}" for name in SETTING})
    source, library = folder / "cuda.cpp", folder / "libcuda.so.1"
    source.write_text('extern "C" {\n' + "\n".join(text.values()) + "\n}\n")
    compiler = shutil.which("g++")
    assert compiler, "g++ is needed"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(source)], check=True
    )
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def convolutions(names) -> Iterator[tuple[str, dnn_graph.Graph, Policy]]:
    where = device("cuda", 0)
    for name, kind in itertools.product(names, (dt.bfloat16, dt.float16, dt.float32, dt.float64)):
        *shapes, stride, padding, dilation = CONVOLUTIONS[name]
        for last, form in itertools.product((False, True), ("forward", "bias", "input", "weight")):
            if last and len(shapes[0]) == 3 or form == "bias" and kind is dt.float64:
                continue
            specs = [spec(kind, where, s, channels_last_strides(s) if last else contiguous_strides(s)) for s in shapes]
            role = "forward" if form == "bias" else form
            policy = Policy(exact=kind is dt.float32)
            for full in (False, True) if kind is dt.float32 and form == "forward" else (False,):
                said = f"convolution, {name}, {kind.name}, {form}{', last' * last}{', full' * full}"
                graph = dnn_convolution.graph_of(role, *specs, stride, padding, dilation, form == "bias")
                yield said, graph, policy._replace(full=full)


def attentions(names) -> Iterator[tuple[str, dnn_graph.Graph, Policy]]:
    for name, kind in itertools.product(names, ("bfloat16", "float16")):
        shape = attention_shape(kind, **ATTENTIONS[name])
        grads = shape.q, shape.k, shape.v
        yield f"attention, {name}, {kind}", dnn_attention.forward(shape), Policy()
        for atomic in (False, True):
            said = f"attention, {name}, {kind}, backward{', atomic' * atomic}"
            yield said, dnn_attention.backward(shape, shape.out, grads, atomic), Policy()


def attention_shape(
    kind, batch=2, heads=8, kv_heads=8, queries=256, keys=384, depth=64, width=64, causal=False, turned=False,
    bias=False,
) -> dnn_attention.Shape:  # fmt: skip
    def steps(h, n, d):
        return (h * n * d, d, h * d, 1) if turned else contiguous_strides((batch, h, n, d))

    masks = (1, 1, queries, keys)
    return dnn_attention.Shape(
        kind, batch, heads, kv_heads, queries, keys, depth, width, 0.125, causal, steps(heads, queries, depth),
        steps(kv_heads, keys, depth), steps(kv_heads, keys, width), steps(heads, queries, width),
        (masks, contiguous_strides(masks)) if bias else None,
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """How many graphs have no plan."""
    few = "--few" in arguments
    with tempfile.TemporaryDirectory() as folder:
        stand_in(Path(folder))
        if dnn_api.reason():
            print(dnn_api.reason())
            return 1
        print(f"cuDNN {dnn_api.version()}")
        bad = 0
        for name, gpu in GPUS.items():
            properties = dnn_api.Descriptor("properties", json=json.dumps(gpu).encode())
            graphs = itertools.chain(
                convolutions(["plain"] if few else CONVOLUTIONS),
                attentions(["shared heads"] if few else ATTENTIONS) if not few or name == "sm_90" else (),
            )
            for said, graph, policy in graphs:
                start = time.perf_counter()
                plan = next(dnn_graph.plans(graph, policy, properties), None)
                bad += plan is None
                if plan is None or not few:
                    need = "no plan" if plan is None else f"{plan.need} bytes"
                    print(f"{name}: {said}: {need}, {time.perf_counter() - start:.1f} s", flush=True)
    print(f"{bad} graphs have no plan")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
