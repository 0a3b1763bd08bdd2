"""Functions that generated texts call: memory in vectors, threads that work on one row, checks, tiles."""

from collections.abc import Iterable, Mapping

from .operations import HELPERS as OPERATION_HELPERS
from .operations import NEEDS as OPERATION_NEEDS
from .philox import HELPERS as RANDOM_HELPERS
from .philox import NEEDS as RANDOM_NEEDS

__all__ = ["prelude"]

_INLINE = "__device__ __forceinline__"

HELPERS: dict[str, str] = {
    "Pair": "template <class T> struct alignas(2 * sizeof(T)) Pair {\n  T re, im;\n};",
    "Pack": """// What one thread reads or writes at once: 16 bytes at most a instruction.
template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T at[N];
};""",
    "fetch": f"""template <int N, class T> {_INLINE} void fetch(T (&to)[N], const T* from, int n) {{
  if (n == N && (size_t)from % alignof(Pack<T, N>) == 0) {{
    const Pack<T, N> all = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = all.at[k];
  }} else {{
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = k < n ? from[k] : T();
  }}
}}""",
    "fetch_back": f"""template <int N, class T> {_INLINE} void fetch_back(T (&to)[N], const T* from, int n) {{
#pragma unroll
  for (int k = 0; k < N; ++k) to[k] = k < n ? from[-k] : T();
}}""",
    "put": f"""template <int N, class T> {_INLINE} void put(T* to, const T (&from)[N], int n) {{
  if (n == N && (size_t)to % alignof(Pack<T, N>) == 0) {{
    Pack<T, N> all;
#pragma unroll
    for (int k = 0; k < N; ++k) all.at[k] = from[k];
    *reinterpret_cast<Pack<T, N>*>(to) = all;
  }} else {{
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (k < n) to[k] = from[k];
  }}
}}""",
    # Sizes are not negative, and unsigned division is the quicker one.
    "over": f"""{_INLINE} int over(int a, int b) {{
  return (int)((unsigned)a / (unsigned)b);
}}
{_INLINE} long long over(long long a, long long b) {{
  return (long long)((unsigned long long)a / (unsigned long long)b);
}}""",
    "shuffled": f"""enum Shuffle {{ ACROSS, UP, FROM }};
template <Shuffle how, class S> {_INLINE} S shuffled(const S& s, int lane) {{
  static_assert(sizeof(S) % 4 == 0, "states are whole words");
  union Words {{
    S s;
    unsigned word[sizeof(S) / 4];
    {_INLINE} Words() {{}}
  }};
  Words from, to;
  from.s = s;
#pragma unroll
  for (int i = 0; i < (int)(sizeof(S) / 4); ++i) {{
    if (how == ACROSS) to.word[i] = __shfl_xor_sync(0xffffffffu, from.word[i], lane);
    else if (how == UP) to.word[i] = __shfl_up_sync(0xffffffffu, from.word[i], lane);
    else to.word[i] = __shfl_sync(0xffffffffu, from.word[i], lane);
  }}
  return to.s;
}}""",
    # The states of `size` neighbouring threads as one, which all of them get. All threads of a block must call it.
    "together": f"""template <class S> {_INLINE} void together(S& s, int size) {{
  for (int step = 1; step < size && step < 32; step <<= 1) join(s, shuffled<ACROSS>(s, step));
  if (size <= 32) return;
  __shared__ S box[32];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, warps = size >> 5, warp = thread >> 5, lane = thread & 31;
  __syncthreads();
  if (lane == 0) box[warp] = s;
  __syncthreads();
  s = box[(warp & ~(warps - 1)) + (lane & (warps - 1))];
  for (int step = 1; step < warps; step <<= 1) join(s, shuffled<ACROSS>(s, step));
}}""",
    # The states of the threads of one column of a block as one, which all of them get.
    "stacked": f"""template <class S> {_INLINE} void stacked(S& s, int size) {{
  if (size == 1) return;
  __shared__ S box[256];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();
  box[thread] = s;
  __syncthreads();
  for (int step = size >> 1; step > 0; step >>= 1) {{
    if ((int)threadIdx.y < step) {{
      join(s, box[thread + step * blockDim.x]);
      box[thread] = s;
    }}
    __syncthreads();
  }}
  s = box[threadIdx.x];
}}""",
    # `carry` and the states of all threads before this one; `carry` comes to hold those of all threads, too.
    "preceding": f"""template <class S> {_INLINE} void after(S& s, const S& before) {{
  S first = before;
  join(first, s);
  s = first;
}}
template <class S> {_INLINE} S preceding(const S& own, S& carry, int size) {{
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, width = size < 32 ? size : 32, lane = thread & (width - 1);
  S s = own, found, all;
  for (int step = 1; step < width; step <<= 1) {{
    const S before = shuffled<UP>(s, step);
    if (lane >= step) after(s, before);
  }}
  all = s;
  start(found);
  if (size > 1) {{
    const S beside = shuffled<UP>(s, 1);
    if (lane > 0) found = beside;
    all = shuffled<FROM>(s, (thread & 31) | (width - 1));
  }}
  if (size > 32) {{
    __shared__ S box[32];
    const int warps = size >> 5, warp = thread >> 5, first = warp & ~(warps - 1);
    __syncthreads();
    if (lane == 31) box[warp] = s;
    __syncthreads();
    S before;
    start(before);
    start(all);
    for (int w = first; w < first + warps; ++w) {{
      if (w < warp) join(before, box[w]);
      join(all, box[w]);
    }}
    if (warp > first) after(found, before);
  }}
  after(found, carry);
  join(carry, all);
  return found;
}}""",
    # `s` with what precedes it.
    "running": f"""template <class S> {_INLINE} void running(S& s, S& carry, int size) {{
  after(s, preceding(s, carry, size));
}}""",
    # Four 8 x 8 matrices of 16-bit elements in shared memory, as lanes hold the operands of `mma`: each lane names a
    # line of 8, those of the first matrix first; turned, the lines are columns. All threads of a warp must call it.
    "matrices": f"""template <bool TURNED> {_INLINE} void matrices(unsigned (&to)[4], const unsigned short* line) {{
  const unsigned at = (unsigned)__cvta_generic_to_shared(line);
  if (TURNED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{%0, %1, %2, %3}}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%0, %1, %2, %3}}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}}""",
    # C += A B by a warp, C 16 x 8, A 16 x 16, B 16 x 8; sums are float32. All threads of a warp must call it.
    "multiply_half": f"""{_INLINE} void multiply_half(
    float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1) {{
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, "
      "{{%8, %9}}, {{%0, %1, %2, %3}};" : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}}""",
    "multiply_bfloat": f"""{_INLINE} void multiply_bfloat(
    float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1) {{
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, "
      "{{%8, %9}}, {{%0, %1, %2, %3}};" : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}}""",
    # What the first failing check leaves for the next synchronisation: that of the earliest launch, of the first check
    # of a kernel, at the first element.
    "note": f"""struct Status {{
  unsigned lock, number;
  long long ticket, position, value;
}};
{_INLINE} bool sooner(const volatile Status* s, long long ticket, unsigned number, long long position) {{
  if (s->ticket == 0 || ticket != s->ticket) return s->ticket == 0 || ticket < s->ticket;
  return number != s->number ? number < s->number : position < s->position;
}}
__device__ __noinline__ void note(Status* s, long long ticket, unsigned number, long long position, long long value) {{
  bool waits = true;
  while (waits && sooner(s, ticket, number, position)) {{
    if (atomicCAS(&s->lock, 0u, 1u) == 0u) {{
      __threadfence();
      if (sooner(s, ticket, number, position)) {{
        volatile Status* to = s;
        to->ticket = ticket;
        to->number = number;
        to->position = position;
        to->value = value;
      }}
      __threadfence();
      atomicExch(&s->lock, 0u);
      waits = false;
    }}
  }}
}}""",
    **OPERATION_HELPERS,
}  # fmt: skip

NEEDS = {
    "fetch": ("Pack",), "put": ("Pack",), "together": ("shuffled",), "preceding": ("shuffled",),
    "running": ("preceding",), **OPERATION_NEEDS,
}  # fmt: skip

HELPERS.update(RANDOM_HELPERS)
NEEDS.update(RANDOM_NEEDS)


def prelude(used: Iterable[str], replaced: Mapping[str, str] | None = None) -> list[str]:
    """The functions in `used` and those that they call, in the order of the table; `replaced` has other texts."""
    found, todo = set(used), list(used)
    while todo:
        more = [name for name in NEEDS.get(todo.pop(), ()) if name not in found]
        found.update(more)
        todo += more
    return [(replaced or {}).get(name, text) for name, text in HELPERS.items() if name in found]
