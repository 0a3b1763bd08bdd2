// What CUDA C++ texts need to run on the host, thread by thread: a block's threads are fibers that change places at
// barriers and shuffles, so that a barrier that some threads miss is found.

#ifndef __x86_64__
#include <ucontext.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#ifdef FACULA_RACES  // `races.h` sees accesses of kernels, and none of the host's own
#define HOST __attribute__((no_sanitize("thread")))
#else
#define HOST
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __shared__ static

namespace emulated {

struct Place {
  unsigned x, y;
};
enum State { READY, AT_BLOCK, AT_WARP, DONE };
// Where a fiber stopped. ucontext asks the kernel for the mask of signals at each change, which costs ten times as much.
#ifdef __x86_64__
using Context = void*;  // its stack, with the registers that a function keeps

__attribute__((naked, noinline)) static void change(Context*, Context*) {
  asm("pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15;"
      "movq %rsp, (%rdi); movq (%rsi), %rsp;"
      "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
}

HOST inline void begin(Context& context, char* stack, size_t size, void (*f)()) {
  void** top = (void**)(stack + size) - 1;  // where a function that was called finds it, 8 bytes off 16
  *--top = (void*)f;
  context = top - 6;
}
#else
using Context = ucontext_t;

HOST inline void change(Context* from, Context* to) { swapcontext(from, to); }

HOST inline void begin(Context& context, char* stack, size_t size, void (*f)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = size;
  context.uc_link = nullptr;
  makecontext(&context, f, 0);
}
#endif

struct Fiber {
  Context context;
  State state;
  Place thread;
  unsigned long long shuffles;
  unsigned barriers, warp_barriers;  // that it came through
};

constexpr int MOST = 1024, STACK = 1 << 16;
Fiber fibers[MOST];
char* stacks = nullptr;
Context scheduler;
int now = 0, count = 0;
unsigned slots[2][MOST];
void (*body)(void*) = nullptr;
void* given = nullptr;
const char* trouble = nullptr;
bool plain = false;

}  // namespace emulated

static emulated::Place threadIdx, blockIdx, blockDim, gridDim;

#ifdef FACULA_RACES
#include "races.h"
#define TOUCHED(at, size, write, atomic) races::touch(at, size, write, atomic, __builtin_return_address(0))
#else
#define TOUCHED(at, size, write, atomic) (void)0
#endif

namespace emulated {

HOST inline void wait(State kind) {
  if (plain) {
    trouble = "a barrier in a kernel that was taken for one without";
    return;
  }
  fibers[now].state = kind;
  if (kind == AT_BLOCK) ++fibers[now].barriers;
  change(&fibers[now].context, &scheduler);
  threadIdx = fibers[now].thread;
}

HOST inline unsigned exchange(unsigned value, int from) {
  const int parity = fibers[now].shuffles++ & 1, first = now & ~31;
  slots[parity][now] = value;
  if (count % 32) trouble = "a shuffle in a block that is no number of whole warps";
  wait(AT_WARP);
  return from >= 0 && first + from < count ? slots[parity][first + from] : value;
}

// What each thread of a warp shows the others: the first one's place.
template <class T> HOST inline const T* shown(const T& mine) {
  static T slots[2][MOST];
  const int parity = fibers[now].shuffles++ & 1;
  slots[parity][now] = mine;
  wait(AT_WARP);
  return slots[parity] + (now & ~31);
}

// C += A B of `mma.m16n8k16`: each lane has some elements of each operand, in pairs along k.
struct Fragments {
  unsigned a[4], b[2];
};
HOST inline float half_value(unsigned short bits) {
  _Float16 value;
  memcpy(&value, &bits, sizeof value);
  return (float)value;
}
HOST inline float bfloat_value(unsigned short bits) {
  const unsigned wide = (unsigned)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}
template <float widened(unsigned short)>
HOST inline void multiply(float* const (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const Fragments* all = shown(Fragments{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  for (int i = 0; i < 4; ++i) {
    const int row = (now & 31) / 4 + i / 2 * 8, col = (now & 3) * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const unsigned left = all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2] >> k % 2 * 16;
      const unsigned right = all[col * 4 + k % 8 / 2].b[k / 8] >> k % 2 * 16;
      *c[i] += widened((unsigned short)left) * widened((unsigned short)right);
    }
  }
}

// `ldmatrix.x4`: lanes point at lines of 8 elements, and get two elements of each matrix.
template <bool TURNED> HOST inline void matrices(unsigned (&to)[4], const unsigned short* line) {
  if ((size_t)line % 16) trouble = "a line of a matrix that is not aligned";
  TOUCHED(line, 16, false, false);
  const unsigned short* const* lines = shown(line);
  const int lane = now & 31;
  for (int i = 0; i < 4; ++i) {
    unsigned two[2];
    for (int e = 0; e < 2; ++e)
      two[e] = TURNED ? lines[8 * i + lane % 4 * 2 + e][lane / 4] : lines[8 * i + lane / 4][lane % 4 * 2 + e];
    to[i] = two[0] | two[1] << 16;
  }
}

HOST inline void enter() {
  body(given);
  fibers[now].state = DONE;
  change(&fibers[now].context, &scheduler);
}

HOST inline bool release() {
  bool moved = false, whole = true;
  for (int w = 0; w < count; w += 32) {
    bool all = true;
    const int end = w + 32 < count ? w + 32 : count;
    for (int i = w; i < end; ++i) {
      all = all && fibers[i].state == AT_WARP && fibers[i].shuffles == fibers[w].shuffles;
      whole = whole && fibers[i].state == AT_BLOCK;
    }
    if (all) {
      for (int i = w; i < end; ++i) fibers[i].state = READY;
      moved = true;
    }
  }
  if (whole) {
    for (int i = 0; i < count; ++i) fibers[i].state = READY;
    moved = true;
  }
  return moved;
}

HOST inline void block(bool backward) {
  count = blockDim.x * blockDim.y;
  if (plain) {
    for (int k = 0; k < count; ++k) {
      const int i = now = backward ? count - 1 - k : k;
      fibers[i].barriers = fibers[i].warp_barriers = 0;
      threadIdx = {i % blockDim.x, i / blockDim.x};
      body(given);
    }
    return;
  }
  if (!stacks) stacks = (char*)malloc((size_t)MOST * STACK);
  for (int i = 0; i < count; ++i) {
    Fiber& f = fibers[i];
    begin(f.context, stacks + (size_t)i * STACK, STACK, enter);
    f.state = READY;
    f.shuffles = f.barriers = f.warp_barriers = 0;
    f.thread = {i % blockDim.x, i / blockDim.x};
  }
  for (;;) {
    bool left = false;
    for (int k = 0; k < count; ++k) {
      const int i = backward ? count - 1 - k : k;
      if (fibers[i].state != READY) continue;
      now = i;
      threadIdx = fibers[i].thread;
      change(&scheduler, &fibers[i].context);
      if (trouble) return;
    }
    for (int i = 0; i < count; ++i) left = left || fibers[i].state != DONE;
    if (!left) return;
    if (!release()) {
      trouble = "some threads of a block wait at a barrier or a shuffle that others do not reach";
      return;
    }
  }
}

template <class... A, size_t... I> HOST void call(void (*f)(A...), void** arguments, std::index_sequence<I...>) {
  f(*(A*)arguments[I]...);
}

// dims: grid x, grid y, block x, block y; order: 1 runs threads and blocks backward; fibers: 0 where nobody waits.
template <class... A>
HOST const char* launch(void (*f)(A...), const unsigned* dims, void** arguments, int order, int fibers_needed) {
  struct Given {
    void (*f)(A...);
    void** arguments;
  } all = {f, arguments};
  given = &all;
  body = [](void* p) HOST { call(((Given*)p)->f, ((Given*)p)->arguments, std::index_sequence_for<A...>()); };
  gridDim = {dims[0], dims[1]};
  blockDim = {dims[2], dims[3]};
  trouble = nullptr;
  plain = !fibers_needed;
#ifdef FACULA_RACES
  ++races::launch;
#endif
  const unsigned blocks = dims[0] * dims[1];
  for (unsigned k = 0; k < blocks && !trouble; ++k) {
    const unsigned b = order ? blocks - 1 - k : k;
    blockIdx = {b % dims[0], b / dims[0]};
    block(order);
  }
  return trouble;
}

}  // namespace emulated

HOST inline void __syncthreads() { emulated::wait(emulated::AT_BLOCK); }
inline void __threadfence() {}
HOST inline unsigned __shfl_xor_sync(unsigned, unsigned value, int mask) {
  return emulated::exchange(value, (emulated::now & 31) ^ mask);
}
HOST inline unsigned __shfl_up_sync(unsigned, unsigned value, int by) {
  return emulated::exchange(value, (emulated::now & 31) - by);
}
HOST inline unsigned __shfl_sync(unsigned, unsigned value, int lane) { return emulated::exchange(value, lane & 31); }

HOST inline void __syncwarp() {
  ++emulated::fibers[emulated::now].warp_barriers;
  emulated::exchange(0, -1);
}
HOST inline unsigned __ballot_sync(unsigned, bool holds) {
  const int parity = emulated::fibers[emulated::now].shuffles & 1, first = emulated::now & ~31;
  emulated::exchange(holds, -1);
  unsigned all = 0;
  for (int lane = 0; lane < 32 && first + lane < emulated::count; ++lane)
    all |= (emulated::slots[parity][first + lane] != 0 ? 1u : 0u) << lane;
  return all;
}
HOST inline int __syncthreads_or(int holds) {
  static int found[2], turn = 0, last = -1;
  __syncthreads();
  if (last != turn) found[turn & 1] = 0, last = turn;  // the first thread of this call
  found[turn & 1] |= holds != 0;
  const int mine = turn & 1;
  __syncthreads();
  if (last == turn) ++turn;
  return found[mine];
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }

template <class T> HOST inline T atomicAdd(T* at, T more) {
  TOUCHED(at, sizeof *at, true, true);
  const T old = *at;
  *at = old + more;
  return old;
}
template <class T> HOST inline T atomicMax(T* at, T other) {
  TOUCHED(at, sizeof *at, true, true);
  const T old = *at;
  if (other > old) *at = other;
  return old;
}

HOST inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned wanted) {
  TOUCHED(at, sizeof *at, true, true);
  const unsigned old = *at;
  if (old == expected) *at = wanted;
  return old;
}
HOST inline unsigned atomicExch(unsigned* at, unsigned wanted) {
  TOUCHED(at, sizeof *at, true, true);
  const unsigned old = *at;
  *at = wanted;
  return old;
}

template <class To, class From> inline To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
// Fast functions of a GPU, which give other last digits there.
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __tanf(float x) { return tanf(x); }
inline void __sincosf(float x, float* sine, float* cosine) {
  *sine = sinf(x);
  *cosine = cosf(x);
}
inline void sincospi(double x, double* sine, double* cosine) {
  *sine = sin(x * M_PI);
  *cosine = cos(x * M_PI);
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
inline float normcdff(float x) { return (float)normcdf((double)x); }
inline double erfinv(double x) {
  if (!(fabs(x) < 1.0)) return fabs(x) == 1.0 ? copysign(INFINITY, x) : NAN;
  const double l = log1p(-x * x), a = 4.33 + l / 2;
  double y = copysign(sqrt(sqrt(a * a - l / 0.147) - a), x);
  for (int i = 0; i < 6; ++i) {
    const double error = fabs(y) < 1 ? erf(y) - x : (1 - fabs(x) - erfc(fabs(y))) * copysign(1.0, y);
    y -= error * 0.88622692545275801365 * exp(y * y);
  }
  return y;
}
inline float erfinvf(float x) { return (float)erfinv((double)x); }
