"""Sorting rows as CUDA C++: elements become ordered unsigned keys, short rows are sorted in shared memory, long ones
by a radix sort over several blocks; `sort.py` says which text sorts what.

Keys keep the order that is asked for (NaN the largest, -0 equal to 0; complemented for a descending order) and travel
with the place of their element in the row, so that equal ones stay in order. Values are read again by place.
"""

from collections.abc import Iterator

from facula.core import dtype as dt
from facula.core.dtype import dtype

from ..functions import written
from ..texts.emit import Program

__all__ = [
    "BITS", "DIGITS", "HELD", "HOW", "THREADS", "all_programs", "block_program", "count_program", "held", "key_bytes",
    "keys_program", "longest_program", "move_program", "passes", "pick_program", "select_program", "spread_program",
    "tile",
]  # fmt: skip

THREADS = 256  # of a block of the radix sort, one a digit
BLOCK_THREADS = 512  # at most, of a block that sorts short rows
BITS = 8  # of a digit
DIGITS = 1 << BITS
AT_ONCE = 4  # elements that a thread reads at once while digits are counted
SPREAD = 16  # counts that it reads at once while starts are spread
GROUPS = 4  # of DIGITS threads, which share the pieces of a row while starts are spread
SELECT_THREADS = 1024  # of a block that selects from a row
SELECTED = 2048  # elements that it selects at most
HELD = {4: 4096, 8: 2048}  # bytes of a key -> elements that a block holds in shared memory
ITEMS = {4: 12, 8: 8}  # elements of a tile a thread
HOW = {"order": 0, "first": 0, "kth": 0, "median": 1, "nanmedian": 2, "mode": 3}

_UNSIGNED = {1: "unsigned char", 2: "unsigned short", 4: "unsigned", 8: "unsigned long long"}
_INFINITY = {"f16": "0x7c00", "bf16": "0x7f80", "f32": "0x7f800000", "f64": "0x7ff0000000000000ull"}


def key_bytes(t: dtype) -> int:
    """The bytes of a key in memory."""
    return 8 if t.itemsize == 8 else 4


def held(t: dtype) -> int:
    """How many elements a block sorts at most."""
    return HELD[key_bytes(t)]


def tile(size: int) -> int:
    """How many elements a block moves at a time, with keys of `size` bytes."""
    return THREADS * ITEMS[size]


def passes(t: dtype) -> int:
    """How many digits keys have."""
    return t.itemsize


def _element(t: dtype) -> str:
    """Types of elements and keys, and `key_of`: from the bits of an element to its key."""
    bits = 8 * t.itemsize
    ones = f"({_UNSIGNED[key_bytes(t)]}){'0x' + 'f' * (bits // 4)}{'ull' if bits == 64 else 'u'}"
    top = f"((Key)1 << {bits - 1})"
    if t.kind == "f":
        body = f"""  Key key = bits;
  if ((key & ~{top}) > (Key){_INFINITY[t.code]}) key = LAST;
  else if (key == {top}) key = {top};
  else key = key & {top} ? LAST & ~key : key | {top};"""
    elif t.kind == "i":
        body = f"  Key key = (Key)bits ^ {top};"
    elif t.kind == "b":
        body = "  Key key = bits != 0;"
    else:
        body = "  Key key = bits;"
    return f"""typedef {_UNSIGNED[t.itemsize]} Element;
typedef {_UNSIGNED[key_bytes(t)]} Key;
constexpr Key LAST = {ones};
__device__ __forceinline__ Key key_of(Element bits, bool descending) {{
{body}
  return descending ? LAST & ~key : key;
}}"""


def _places(t: dtype) -> str:
    """What is asked for of a row that is in order: `Row` has key(k), the key of the k-th element."""
    return f"constexpr bool FLOATS = {'true' if t.kind == 'f' else 'false'};  // of which LAST is NaN\n{_PLACES}"


_PLACES = """// The first element that is not before `key`, or `behind` it.
template <class Row> __device__ __forceinline__ long long found(const Row& row, long long n, Key key, bool behind) {
  long long low = 0, high = n;
  while (low < high) {
    const long long middle = (low + high) >> 1;
    const Key here = row.key(middle);
    if (here < key || (behind && here == key)) low = middle + 1;
    else high = middle;
  }
  return low;
}
// The place in the order of a median; how: 1 the first NaN where there is one, 2 without NaN.
template <class Row>
__device__ __forceinline__ long long median(const Row& row, long long n, long long first, int how) {
  if (!FLOATS) return first;
  const long long numbers = found(row, n, LAST, false);
  if (how == 1) return numbers < n ? numbers : first;
  return numbers > 0 ? (numbers - 1) >> 1 : 0;
}
// The length of the run that begins at `k` and how early it is as one number, 0 where none begins there.
template <class Row> __device__ __forceinline__ unsigned long long run(const Row& row, long long n, long long k) {
  const Key key = row.key(k);
  long long length = 1;
  if (!(FLOATS && key == LAST)) {
    if (k > 0 && row.key(k - 1) == key) return 0;
    length = found(row, n, key, true) - k;
  }
  return (unsigned long long)length << 32 | (0xffffffffull - (unsigned long long)k);
}
__device__ __forceinline__ long long end_of(unsigned long long best) {
  return (long long)(0xffffffffull - (best & 0xffffffffull)) + (long long)(best >> 32) - 1;
}"""

# Keys of 32 bits with their places are numbers of 64; wider ones lie in two arrays.
_HOLD = {
    4: """struct Held {
  unsigned long long* pairs;
  __device__ __forceinline__ Key key(long long k) const { return (Key)(pairs[k] >> 32); }
  __device__ __forceinline__ unsigned place(int k) const { return (unsigned)pairs[k]; }
  __device__ __forceinline__ void set(int k, Key key, unsigned place) const {
    pairs[k] = (unsigned long long)key << 32 | place;
  }
  __device__ __forceinline__ void order(int low, int high, bool rising) const {
    const unsigned long long a = pairs[low], b = pairs[high];
    if ((a > b) == rising) {
      pairs[low] = b;
      pairs[high] = a;
    }
  }
  __device__ __forceinline__ Held from(int k) const { return Held{pairs + k}; }
};""",
    8: """struct Held {
  Key* keys;
  unsigned* places;
  __device__ __forceinline__ Key key(long long k) const { return keys[k]; }
  __device__ __forceinline__ unsigned place(int k) const { return places[k]; }
  __device__ __forceinline__ void set(int k, Key key, unsigned place) const {
    keys[k] = key;
    places[k] = place;
  }
  __device__ __forceinline__ void order(int low, int high, bool rising) const {
    const Key a = keys[low], b = keys[high];
    const unsigned i = places[low], j = places[high];
    if ((a > b || (a == b && i > j)) == rising) {
      keys[low] = b;
      keys[high] = a;
      places[low] = j;
      places[high] = i;
    }
  }
  __device__ __forceinline__ Held from(int k) const { return Held{keys + k, places + k}; }
};""",
}

_BITONIC = """// Each `width` of `here` elements (powers of two) in order: bitonic, and all threads of a block call it.
__device__ __forceinline__ void put_in_order(const Held& all, int here, int width) {
  __syncthreads();
  for (int k = 2; k <= width; k <<= 1) {
    for (int j = k >> 1; j > 0; j >>= 1) {
      for (int p = threadIdx.x; p < here >> 1; p += blockDim.x) {
        const int low = 2 * p - (p & (j - 1));
        all.order(low, low + j, (low & (width - 1) & k) == 0);
      }
      // Up to a distance of 32 a warp's elements are its own: 64 for 32 threads.
      if (j > 32 || (j == 1 && k >= 64)) __syncthreads();
      else __syncwarp();
    }
  }
  __syncthreads();
}"""

_SHARED = {
    4: "  __shared__ unsigned long long pairs[{held}];\n  const Held all = {{pairs}};",
    8: "  __shared__ Key keys[{held}];\n  __shared__ unsigned places[{held}];\n  const Held all = {{keys, places}};",
}

_OUT = [("Element*", "values"), ("long long*", "indices"), ("const Element*", "input")]
_ROWS = [("long long", name) for name in ("rows", "n", "inner")]


def block_program(t: dtype) -> Program:
    """Several short rows in one block: a bitonic sort of (key, place), which all differ, so it is stable.

    `width` elements (a power of two) belong to a row, of which a block has ``1 << together``.
    """
    size = key_bytes(t)
    lines = f"""{_SHARED[size].format(held=HELD[size])}
  __shared__ unsigned long long best[{HELD[size] // 32}];  // of modes, whose rows have 32 elements at least
  const int width = 1 << wide, here = width << together, thread = threadIdx.x, threads = blockDim.x;
  const long long top = (long long)blockIdx.x << together;
  for (int e = thread; e < here; e += threads) {{
    const int r = inner == 1 ? e >> wide : e & ((1 << together) - 1), k = inner == 1 ? e & (width - 1) : e >> together;
    const long long row = top + r;
    Key key = ~(Key)0;
    unsigned place = ~0u;
    if (row < rows && k < n) {{
      const long long o = inner == 1 ? row : row / inner;  // divisions of 64 bits are long
      key = key_of(input[(o * n + k) * inner + (row - o * inner)], descending != 0);
      place = (unsigned)k;
    }}
    all.set((r << wide) + k, key, place);
  }}
  if (how == 3)
    for (int r = thread; r < 1 << together; r += threads) best[r] = 0;
  put_in_order(all, here, width);
  if (how == 3) {{
    for (int e = thread; e < here; e += threads) {{
      const int r = e >> wide, k = e & (width - 1);
      if (top + r < rows && k < n) {{
        const unsigned long long found_here = run(all.from(r << wide), n, k);
        if (found_here) atomicMax(&best[r], found_here);
      }}
    }}
    __syncthreads();
  }}
  const int many = (int)count, last = many << together;
  for (int e = thread; e < last; e += threads) {{
    const int r = inner == 1 ? (int)((unsigned)e / (unsigned)many) : e & ((1 << together) - 1);
    const int c = inner == 1 ? e - r * many : e >> together;
    const long long row = top + r;
    if (row < rows) {{
      const Held own = all.from(r << wide);
      long long k = first + c;
      if (how == 3) k = end_of(best[r]);
      else if (how != 0) k = median(own, n, first, how);
      const long long o = inner == 1 ? row : row / inner, i = row - o * inner;
      const long long place = own.place((int)k), at = (o * count + c) * inner + i;
      if (values) values[at] = input[(o * n + place) * inner + i];
      if (indices) indices[at] = place;
    }}
  }}"""
    given = [
        *_OUT, *_ROWS, ("long long", "first"), ("long long", "count"),
        ("int", "wide"), ("int", "together"), ("int", "how"), ("int", "descending"),
    ]  # fmt: skip
    before = "\n".join([_element(t), _places(t), _HOLD[size], _BITONIC])
    return written("facula_sort_block", given, lines, before=before, threads=BLOCK_THREADS)


def select_program(t: dtype) -> Program:
    """The first `count` elements of the order of each piece of a row, whose elements lie side by side.

    Digit by digit, from the highest, counts tell the key of the last one wanted; elements before it and as many of
    the ones equal to it as are missing are sorted. Selected ones of pieces of `apart` elements may be selected from
    once more: `origin` has their places in their pieces.
    """
    size, warps = key_bytes(t), SELECT_THREADS // 32
    lines = f"""{_SHARED[size].format(held=SELECTED)}
  __shared__ unsigned counted[{DIGITS}], box[{warps}], chosen, passed, taken;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  const long long row = blockIdx.x / pieces, begin = (blockIdx.x - row * pieces) * share;
  const long long length = n - begin < share ? n - begin : share;
  const Element* from = input + row * n + begin;
  Key last = 0, known = 0;  // of the last one wanted: digits, and which are known
  unsigned left = (unsigned)count;
  if (thread == 0) taken = 0;
  for (int digit = {passes(t) - 1}; digit >= 0; --digit) {{
    if (thread < {DIGITS}) counted[thread] = 0;
    __syncthreads();
#pragma unroll 4
    for (long long k = thread; k < length; k += {SELECT_THREADS}) {{
      const Key key = key_of(from[k], descending != 0);
      if ((key & known) == last) atomicAdd(&counted[(unsigned)(key >> ({BITS} * digit)) & {DIGITS - 1}u], 1u);
    }}
    __syncthreads();
    if (warp == 0) {{
      unsigned own = 0;
      for (int b = 0; b < {DIGITS // 32}; ++b) own += counted[lane * {DIGITS // 32} + b];
      unsigned sum = own;
      for (int step = 1; step < 32; step <<= 1) {{
        const unsigned other = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += other;
      }}
      unsigned before = sum - own;
      if (before < left && left <= sum) {{
        unsigned at = lane * {DIGITS // 32};
        for (; before + counted[at] < left; ++at) before += counted[at];
        chosen = at;
        passed = before;
      }}
    }}
    __syncthreads();
    last |= (Key)chosen << ({BITS} * digit);
    known |= (Key){DIGITS - 1} << ({BITS} * digit);
    left -= passed;
  }}
  const unsigned sooner = (unsigned)count - left;  // elements before the last key
  unsigned equal = 0;
  for (long long first = 0; first < length; first += {SELECT_THREADS}) {{
    const long long k = first + thread;
    const Key key = k < length ? key_of(from[k], descending != 0) : (Key)0;
    if (k < length && key < last) all.set((int)atomicAdd(&taken, 1u), key, (unsigned)k);
    if (equal < left) {{  // the first of the equal ones, in order
      const bool same = k < length && key == last;
      const unsigned lanes = __ballot_sync(0xffffffffu, same);
      if (lane == 0) box[warp] = __popc(lanes);
      __syncthreads();
      unsigned before = equal;
      for (int w = 0; w < {warps}; ++w) {{
        if (w < warp) before += box[w];
        equal += box[w];
      }}
      before += __popc(lanes & ((1u << lane) - 1u));
      if (same && before < left) all.set((int)(sooner + before), key, (unsigned)k);
      __syncthreads();
    }}
  }}
  const int width = 1 << wide;
  for (int e = (int)count + thread; e < width; e += {SELECT_THREADS}) all.set(e, ~(Key)0, ~0u);
  put_in_order(all, width, width);
  for (int e = thread; e < count; e += {SELECT_THREADS}) {{
    const long long at = blockIdx.x * count + e, place = all.place(e);
    if (values) values[at] = from[place];
    if (indices) indices[at] = origin ? place / count * apart + origin[row * n + place] : place;
  }}"""
    given = [
        *_OUT,
        ("const long long*", "origin"),
        ("long long", "apart"),
        ("long long", "n"),
        ("long long", "share"),
        ("long long", "pieces"),
        ("long long", "count"),
        ("int", "wide"),
        ("int", "descending"),
    ]
    before = "\n".join([_element(t), _HOLD[size], _BITONIC])
    return written("facula_sort_select", given, lines, before=before, threads=SELECT_THREADS)


# A block has one piece of one row. Keys and places lie in two buffers each; `turn[pass * rows + row]` says in which
# of them a row is before a pass (before the first: 0): a pass whose digits are all equal moves nothing.
_PIECE = """  const long long row = blockIdx.x / pieces, piece = blockIdx.x - row * pieces;
  const long long begin = piece * share, end = n - begin < share ? n : begin + share;"""
_PIECES = [("long long", "rows"), ("long long", "n"), ("long long", "share"), ("long long", "pieces")]


def keys_program(t: dtype) -> Program:
    """Keys and places of long rows, side by side."""
    lines = f"""{_PIECE}
  const long long o = row / inner, i = row - o * inner;
  const Element* from = input + o * n * inner + i;
#pragma unroll 4
  for (long long k = begin + threadIdx.x; k < end; k += {THREADS}) {{
    keys[row * n + k] = key_of(from[k * inner], descending != 0);
    places[row * n + k] = (unsigned)k;
  }}"""
    given = [("Key*", "keys"), ("unsigned*", "places"), ("const Element*", "input"), *_PIECES]
    given += [("long long", "inner"), ("int", "descending")]
    return written("facula_sort_keys", given, lines, before=_element(t))


def _key(size: int) -> str:
    return f"typedef {_UNSIGNED[size]} Key;"


def count_program(size: int) -> Program:
    """How often each digit occurs in each piece: counts[row][piece][digit]."""
    lines = f"""{_PIECE}
  __shared__ unsigned counted[{DIGITS}];
  const Key* from = keys + (pass && turn[pass * rows + row] ? rows * n : 0) + row * n;
  counted[threadIdx.x] = 0;
  __syncthreads();
  for (long long first = begin; first < end; first += {THREADS * AT_ONCE}) {{
    unsigned digit[{AT_ONCE}];
#pragma unroll
    for (int j = 0; j < {AT_ONCE}; ++j) {{
      const long long k = first + j * {THREADS} + threadIdx.x;
      digit[j] = k < end ? (unsigned)(from[k] >> ({BITS} * pass)) & {DIGITS - 1}u : {DIGITS}u;
    }}
#pragma unroll
    for (int j = 0; j < {AT_ONCE}; ++j) {{
      const unsigned one = __shfl_sync(0xffffffffu, digit[j], 0);
      // Digits that are all equal would wait for each other.
      if (__ballot_sync(0xffffffffu, digit[j] == one) == 0xffffffffu) {{
        if ((threadIdx.x & 31) == 0 && one < {DIGITS}u) atomicAdd(&counted[one], 32u);
      }} else if (digit[j] < {DIGITS}u) {{
        atomicAdd(&counted[digit[j]], 1u);
      }}
    }}
  }}
  __syncthreads();
  counts[(long long)blockIdx.x * {DIGITS} + threadIdx.x] = counted[threadIdx.x];"""
    given = [("unsigned*", "counts"), ("const Key*", "keys"), ("const int*", "turn"), *_PIECES, ("int", "pass")]
    return written("facula_sort_count", given, lines, before=_key(size))


# The sum of the values of the threads before, of `DIGITS` threads whose number is `digit`; box: a word a warp.
_BEFORE = f"""__device__ __forceinline__ unsigned sum_before(unsigned own, int digit, unsigned* box) {{
  unsigned sum = own;
  for (int step = 1; step < 32; step <<= 1) {{
    const unsigned other = __shfl_up_sync(0xffffffffu, sum, step);
    if ((digit & 31) >= step) sum += other;
  }}
  if ((digit & 31) == 31) box[digit >> 5] = sum;
  __syncthreads();
  unsigned before = 0;
  for (int w = 0; w < {DIGITS // 32}; ++w)
    if (w < digit >> 5) before += box[w];
  return before + sum - own;
}}"""


def spread_program() -> Program:
    """Counts become where in the row each digit of each piece begins; a block a row."""
    fetched = f"""#pragma unroll
    for (int i = 0; i < {SPREAD}; ++i) many[i] = p + i < last ? own[(p + i) * {DIGITS}] : 0u;"""
    lines = f"""  __shared__ unsigned parts[{GROUPS}][{DIGITS}], box[{GROUPS}][{DIGITS // 32}];
  const long long row = blockIdx.x;
  const int digit = threadIdx.x, group = threadIdx.y;
  unsigned* own = counts + row * pieces * {DIGITS} + digit;
  const long long each = (pieces + {GROUPS - 1}) / {GROUPS};
  const long long first = group * each, last = first + each < pieces ? first + each : pieces;
  unsigned part = 0, many[{SPREAD}];
  for (long long p = first; p < last; p += {SPREAD}) {{
{fetched}
#pragma unroll
    for (int i = 0; i < {SPREAD}; ++i) part += many[i];
  }}
  parts[group][digit] = part;
  __syncthreads();
  unsigned all = 0, start = 0;
  for (int g = 0; g < {GROUPS}; ++g) {{
    if (g < group) start += parts[g][digit];
    all += parts[g][digit];
  }}
  start += sum_before(all, digit, box[group]);
  for (long long p = first; p < last; p += {SPREAD}) {{
{fetched}
#pragma unroll
    for (int i = 0; i < {SPREAD}; ++i) {{
      if (p + i < last) own[(p + i) * {DIGITS}] = start;
      start += many[i];
    }}
  }}
  const int equal = __syncthreads_or(all == (unsigned)n);
  if (digit == 0 && group == 0) {{
    const int now = pass ? turn[pass * rows + row] : 0;
    turn[(pass + 1) * rows + row] = equal ? now : 1 - now;
  }}"""
    given = [("unsigned*", "counts"), ("int*", "turn"), *_PIECES, ("int", "pass")]
    return written("facula_sort_spread", given, lines, before=_BEFORE, threads=GROUPS * DIGITS)


def move_program(size: int) -> Program:
    """Elements to where their digits begin, equal digits in order; a piece is moved tile by tile."""
    items, warps = ITEMS[size], THREADS // 32
    lines = f"""{_PIECE}
  __shared__ Key staged[{THREADS * items}];
  __shared__ unsigned staged_places[{THREADS * items}];
  __shared__ unsigned counted[{warps}][{DIGITS}];  // of each warp, then of the warps before
  __shared__ unsigned local[{DIGITS}], next[{DIGITS}], box[{warps}];
  const int now = pass ? turn[pass * rows + row] : 0;
  if (turn[(pass + 1) * rows + row] == now) return;
  const long long from = (now ? rows * n : 0) + row * n, to = (now ? 0 : rows * n) + row * n;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  next[thread] = starts[(long long)blockIdx.x * {DIGITS} + thread];
  for (long long first = begin; first < end; first += {THREADS * items}) {{
    const int here = end - first < {THREADS * items} ? (int)(end - first) : {THREADS * items};
    for (int w = 0; w < {warps}; ++w) counted[w][thread] = 0;
    __syncthreads();
    const Key* tile_keys = keys + from + first + (warp * {32 * items} + lane);
    const unsigned* tile_places = places + from + first + (warp * {32 * items} + lane);
    const int left = here - (warp * {32 * items} + lane);  // of the elements that this thread has every 32nd of
    Key key[{items}];
    unsigned rank[{items}];
#pragma unroll
    for (int j = 0; j < {items}; ++j) {{
      key[j] = j * 32 < left ? tile_keys[j * 32] : (Key)0;
    }}
#pragma unroll
    for (int j = 0; j < {items}; ++j) {{
      const bool live = j * 32 < left;
      const unsigned digit = (unsigned)(key[j] >> ({BITS} * pass)) & {DIGITS - 1}u;
      unsigned peers = __ballot_sync(0xffffffffu, live);  // lanes with the same digit
#pragma unroll
      for (int b = 0; b < {BITS}; ++b) {{
        const unsigned ones = __ballot_sync(0xffffffffu, digit >> b & 1u);
        peers &= digit >> b & 1u ? ones : ~ones;
      }}
      const unsigned before = __popc(peers & ((1u << lane) - 1u)), known = counted[warp][digit];
      __syncwarp();
      if (live && before == 0) counted[warp][digit] = known + __popc(peers);
      __syncwarp();
      rank[j] = known + before;
    }}
    __syncthreads();
    unsigned all = 0;
    for (int w = 0; w < {warps}; ++w) {{
      const unsigned many = counted[w][thread];
      counted[w][thread] = all;
      all += many;
    }}
    local[thread] = sum_before(all, thread, box);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < {items}; ++j) {{
      if (j * 32 < left) {{
        const unsigned digit = (unsigned)(key[j] >> ({BITS} * pass)) & {DIGITS - 1}u;
        const unsigned at = local[digit] + counted[warp][digit] + rank[j];
        staged[at] = key[j];
        staged_places[at] = tile_places[j * 32];
      }}
    }}
    __syncthreads();
    for (int e = thread; e < here; e += {THREADS}) {{
      const Key moved = staged[e];
      const unsigned digit = (unsigned)(moved >> ({BITS} * pass)) & {DIGITS - 1}u;
      const long long at = to + next[digit] + ((unsigned)e - local[digit]);
      keys[at] = moved;
      places[at] = staged_places[e];
    }}
    __syncthreads();
    next[thread] += all;
  }}"""
    given = [("Key*", "keys"), ("unsigned*", "places"), ("const int*", "turn"), ("const unsigned*", "starts")]
    before = "\n".join([_key(size), _BEFORE])
    return written("facula_sort_move", [*given, *_PIECES, ("int", "pass")], lines, before=before)


_SORTED = """struct Sorted {
  const Key* keys;
  __device__ __forceinline__ Key key(long long k) const { return keys[k]; }
};"""


def longest_program(t: dtype) -> Program:
    """The end of the first longest run of equal elements of each row in order; a block a row."""
    lines = f"""  __shared__ unsigned long long best;
  const long long row = blockIdx.x;
  const Sorted all = {{keys + (turn[{passes(t)} * rows + row] ? rows * n : 0) + row * n}};
  if (threadIdx.x == 0) best = 0;
  __syncthreads();
  unsigned long long own = 0;
  for (long long k = threadIdx.x; k < n; k += {THREADS}) {{
    const unsigned long long here = run(all, n, k);
    own = here > own ? here : own;
  }}
  if (own) atomicMax(&best, own);
  __syncthreads();
  if (threadIdx.x == 0) ends[row] = end_of(best);"""
    given = [("long long*", "ends"), ("const Key*", "keys"), ("const int*", "turn")]
    given += [("long long", "rows"), ("long long", "n")]
    before = "\n".join([_element(t), _places(t), _SORTED])
    return written("facula_sort_longest", given, lines, before=before)


def pick_program(t: dtype) -> Program:
    """What is asked for of long rows in order: values and indices."""
    lines = f"""  const long long stride = (long long)gridDim.x * blockDim.x, all = rows * count;
  for (long long u = (long long)blockIdx.x * blockDim.x + threadIdx.x; u < all; u += stride) {{
    const long long oc = inner == 1 ? u : u / inner, i = u - oc * inner;
    const long long o = rows == inner ? 0 : oc / count, row = o * inner + i;
    const long long at = (turn[{passes(t)} * rows + row] ? rows * n : 0) + row * n;
    long long k = first + (oc - o * count);
    if (how == 3) k = ends[row];
    else if (how != 0) k = median(Sorted{{keys + at}}, n, first, how);
    const long long place = places[at + k];
    if (values) values[u] = input[(o * n + place) * inner + i];
    if (indices) indices[u] = place;
  }}"""
    given = [
        *_OUT, ("const Key*", "keys"), ("const unsigned*", "places"), ("const int*", "turn"),
        ("const long long*", "ends"), *_ROWS, ("long long", "first"), ("long long", "count"), ("int", "how"),
    ]  # fmt: skip
    before = "\n".join([_element(t), _places(t), _SORTED])
    return written("facula_sort_pick", given, lines, before=before)


def all_programs() -> Iterator[Program]:
    """The texts for each dtype."""
    yield spread_program()
    for size in HELD:
        yield from (count_program(size), move_program(size))
    for t in dt.ALL:
        if t.kind != "c" and t not in dt.FLOAT8:
            yield from (
                make(t) for make in (block_program, select_program, keys_program, longest_program, pick_program)
            )
