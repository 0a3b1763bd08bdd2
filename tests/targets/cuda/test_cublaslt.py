"""The numbers of cuBLASLt against the library itself and its header, where it is installed; needs no GPU.

pip install nvidia-cublas (half a gigabyte: not in the test extra), then run this file.
"""

import ctypes
import re
from pathlib import Path

import pytest

from facula.targets.cuda.libraries import cublaslt as lt
from tests.targets.cuda import fake_blas


@pytest.fixture(scope="module")
def library():
    lt.use(None, really=True)
    if lt.library() is None:
        pytest.skip(f"no cuBLASLt here: {lt.reason()}")
    return lt.library()


def value_of(library, made: lt.Descriptor, number: int) -> tuple[int, int]:
    """Bytes and value of an attribute."""
    get = getattr(library, f"cublasLt{made.kind}GetAttribute")
    get.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    size = ctypes.c_size_t()
    lt.good(get(made.address, number, None, 0, ctypes.addressof(size)), "GetAttribute")
    place = (ctypes.c_char * size.value)()
    lt.good(get(made.address, number, ctypes.addressof(place), size.value, ctypes.addressof(size)), "GetAttribute")
    return size.value, int.from_bytes(place.raw, "little")


HOW = {"MatmulDesc": (lt.COMPUTE_32F, 0), "MatrixLayout": (0, 8, 4, 8), "MatmulPreference": ()}


@pytest.mark.parametrize("kind", HOW)
def test_every_attribute_is_kept(library, kind):
    made = lt.Descriptor(kind, *HOW[kind])
    for value, (name, (number, own)) in enumerate(lt.ATTRIBUTES[kind].items(), 2):
        value %= 3 if name == "EPILOGUE" else 100
        made.set(name, value)
        assert value_of(library, made, number) == (ctypes.sizeof(own), value), name
    call = getattr(library, f"cublasLt{kind}SetAttribute")
    number, own = next(iter(lt.ATTRIBUTES[kind].values()))
    held = ctypes.c_uint64()
    assert call(made.address, number, ctypes.addressof(held), ctypes.sizeof(own) // 2) == lt.INVALID_VALUE


@pytest.mark.parametrize("kind", HOW)
def test_the_fake_has_its_sizes_and_defaults(library, kind):
    made = lt.Descriptor(kind, *HOW[kind])
    given = {0, 1, 2, 3, 4} if kind == "MatrixLayout" else {0, 1} if kind == "MatmulDesc" else set()
    for number, (size, default) in fake_blas.ATTRIBUTES[kind].items():
        found = value_of(library, made, number)
        assert found[0] == size and (number in given or found[1] == default), number
    fake = fake_blas.FakeBlas(None)
    for number in range(64):
        held = (ctypes.c_char * 16)()
        for size in (1, 4, 8):
            own = fake_blas.ATTRIBUTES[kind].get(number, (0, 0))[0] == size
            if own:
                call = getattr(library, f"cublasLt{kind}SetAttribute")
                assert call(made.address, number, ctypes.addressof(held), size) == 0
                fake.kept[1] = fake_blas.Kept(kind)
                assert fake._set(1, number, ctypes.addressof(held), size) == 0


def test_numbers_are_those_of_the_header(library):
    """Enums and sizes of structs, by NVIDIA's names."""
    headers = [Path(library._name).parents[n] / "include" for n in (1, 2)]
    folder = next((p for p in headers if (p / "cublasLt.h").exists()), None)
    if folder is None:
        pytest.skip("the library has no header beside it")
    found: dict[str, int] = {}
    for file in ("cublas_api.h", "cublasLt.h"):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", (folder / file).read_text(), flags=re.S)
        for body in re.findall(r"enum\s*\w*\s*\{(.*?)\}", text, re.S):
            for name, value in re.findall(r"(CUBLAS\w+)\s*=\s*([^,]+)", body):
                if re.fullmatch(r"[\s()|\d]+|0x[\da-fA-F]+\s*", value):
                    found[name] = eval(value)
    prefixes = {"MatmulDesc": "CUBLASLT_MATMUL_DESC_", "MatrixLayout": "CUBLASLT_MATRIX_LAYOUT_",
                "MatmulPreference": "CUBLASLT_MATMUL_PREF_"}  # fmt: skip
    for kind, table in lt.ATTRIBUTES.items():
        for name, (number, _) in table.items():
            assert found[prefixes[kind] + name] == number, name
    for number, name in lt.NAMES.items():
        assert found[name] == number
    for name, number in {
        "CUBLAS_COMPUTE_16F": lt.COMPUTE_16F, "CUBLAS_COMPUTE_32F": lt.COMPUTE_32F,
        "CUBLAS_COMPUTE_64F": lt.COMPUTE_64F, "CUBLAS_COMPUTE_32I": lt.COMPUTE_32I,
        "CUBLAS_COMPUTE_32F_FAST_TF32": lt.COMPUTE_FAST_TF32, "CUBLASLT_EPILOGUE_DEFAULT": lt.EPILOGUE_DEFAULT,
        "CUBLASLT_EPILOGUE_BIAS": lt.EPILOGUE_BIAS, "CUBLASLT_EPILOGUE_RELU": lt.EPILOGUE_RELU,
        "CUBLASLT_EPILOGUE_GELU": lt.EPILOGUE_GELU, "CUBLASLT_EPILOGUE_BGRADA": lt.EPILOGUE_SUM_A,
        "CUBLASLT_EPILOGUE_BGRADB": lt.EPILOGUE_SUM_B, "CUBLASLT_REDUCTION_SCHEME_NONE": lt.REDUCE_NOT,
        "CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE": lt.REDUCE_WIDE, "CUBLAS_OP_N": 0, "CUBLAS_OP_T": 1,
        "CUBLASLT_ORDER_COL": 0, "CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F": lt.SCALE_ONE,
        "CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F": lt.SCALE_ROWS,
    }.items():  # fmt: skip
        assert found[name] == number, name
    any_but_inplace = found["CUBLASLT_REDUCTION_SCHEME_MASK"] & ~found["CUBLASLT_REDUCTION_SCHEME_INPLACE"]
    assert lt.REDUCE_ANY == any_but_inplace
    assert ctypes.sizeof(lt.Heuristic) == 8 * 8 + 8 + 4 + 4 + 4 * 4 and lt.Heuristic.workspace.offset == 64


def test_its_functions_take_what_they_are_given(library):
    for name, takes in lt._SIGNATURES.items():
        assert tuple(getattr(library, name).argtypes) == takes
    assert re.fullmatch(r"1\d\.\d+\.\d+", lt.version())
    place = ctypes.c_void_p()
    status = library.cublasLtCreate(ctypes.addressof(place))
    assert status in (0, 1), "a handle, or that there is no GPU"
