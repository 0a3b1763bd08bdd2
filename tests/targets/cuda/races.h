// Races of kernels on the host: g++ calls what stands here at each access to memory (-fsanitize=thread, without its
// library), and the access is held against the last ones to the same bytes.
//
// Two accesses, one of them a write, are a race unless they are one thread's, are both atomic or volatile, or are in
// order: in one block with a __syncthreads() between them, in one warp with a __syncwarp() between them. Blocks of a launch
// are never in order, and shuffles and votes are no barriers. What a block reads in shared memory it has written before.

extern "C" char __bss_start __attribute__((visibility("hidden")));
extern "C" char _end __attribute__((visibility("hidden")));
extern "C" char __ehdr_start __attribute__((visibility("hidden")));

namespace races {

HOST inline bool is_place(const void* at) {
  for (const emulated::Place* p : {&threadIdx, &blockIdx, &blockDim, &gridDim})
    if (at == &p->x || at == &p->y) return true;
  return false;
}

struct Access {
  unsigned block, barriers, warp_barriers, line;  // the line of the text as an address in the library; 0: no access
  unsigned short thread;
  bool write, atomic;
};
constexpr int READS = 3, PAGE = 1 << 10, PAGES = 1 << 18;
struct Byte {
  unsigned launch;
  Access write, reads[READS];
};
struct Page {
  size_t number;
  Byte bytes[PAGE];
};

Page** pages = nullptr;
unsigned launch = 0;
char message[400];

HOST Page* page_of(size_t number) {
  static Page* last = nullptr;
  if (last && last->number == number) return last;
  if (!pages) pages = (Page**)calloc(PAGES, sizeof(Page*));
  size_t at = number * 0x9e3779b97f4a7c15ull >> 46;
  while (pages[at] && pages[at]->number != number) at = (at + 1) % PAGES;
  if (!pages[at]) {
    pages[at] = (Page*)calloc(1, sizeof(Page));
    pages[at]->number = number;
  }
  return last = pages[at];
}

HOST bool in_order(const Access& before, const Access& now) {
  if (before.block != now.block) return false;
  if (before.thread == now.thread || before.barriers < now.barriers) return true;
  return before.thread / 32 == now.thread / 32 && before.warp_barriers < now.warp_barriers;
}

HOST void say(const char* what, const Access& before, const Access& now, const void* at) {
  if (emulated::trouble) return;
  snprintf(message, sizeof message, "race: %s at %p: block %u thread %u, line @%x, then block %u thread %u, line @%x", what,
           at, before.block, before.thread, before.line, now.block, now.thread, now.line);
  emulated::trouble = message;
  // What follows may touch any address: the block ends here.
  if (!emulated::plain) emulated::change(&emulated::fibers[emulated::now].context, &emulated::scheduler);
}

HOST void touch(const volatile void* address, size_t size, bool write, bool atomic, const void* line) {
  using namespace emulated;
  const char *first = (const char*)address, *stack = (const char*)__builtin_frame_address(0);
  if (first >= stacks && first < stacks + (size_t)MOST * STACK) return;
  if (first >= stack && first < stack + (1 << 20)) return;  // of the host
  const bool shared = first >= &__bss_start && first < &_end;
  if (shared && is_place(first)) return;
  const Access now = {blockIdx.y * gridDim.x + blockIdx.x, fibers[emulated::now].barriers,
                      fibers[emulated::now].warp_barriers, (unsigned)((const char*)line - &__ehdr_start),
                      (unsigned short)emulated::now, write, atomic};
  for (size_t k = 0; k < size; ++k) {
    const size_t at = (size_t)first + k;
    Byte& byte = page_of(at / PAGE)->bytes[at % PAGE];
    if (byte.launch != launch || (shared && byte.write.line && byte.write.block != now.block)) {
      memset(&byte, 0, sizeof byte);
      byte.launch = launch;
    }
    if (byte.write.line && !(atomic && byte.write.atomic) && !in_order(byte.write, now))
      say(write ? "write after write" : "read after write", byte.write, now, (void*)at);
    if (shared && !write && !byte.write.line) say("read of shared memory that holds nothing", now, now, (void*)at);
    if (write) {
      for (const Access& read : byte.reads)
        if (read.line && !(atomic && read.atomic) && !in_order(read, now))
          say("write after read", read, now, (void*)at);
      byte.write = now;
    }
    if (!write) {  // forgotten is what came before, else the oldest of the same warp
      int place = -1;
      for (int i = 0; i < READS && place < 0; ++i)
        if (!byte.reads[i].line || in_order(byte.reads[i], now)) place = i;
      for (int i = 0; i < READS && place < 0; ++i)
        if (byte.reads[i].block == now.block && byte.reads[i].thread / 32 == now.thread / 32) place = i;
      byte.reads[place < 0 ? emulated::now % READS : place] = now;
    }
  }
}

}  // namespace races

#define ACCESS(name, size, write, atomic)                             \
  extern "C" HOST void __tsan_##name##size(void* at) {                \
    races::touch(at, size, write, atomic, __builtin_return_address(0)); \
  }
#define ACCESSES(size)                                                                         \
  ACCESS(read, size, false, false)                                                             \
  ACCESS(write, size, true, false)                                                             \
  ACCESS(unaligned_read, size, false, false)                                                   \
  ACCESS(unaligned_write, size, true, false)                                                   \
  ACCESS(volatile_read, size, false, true)                                                     \
  ACCESS(volatile_write, size, true, true)                                                     \
  ACCESS(unaligned_volatile_read, size, false, true)                                           \
  ACCESS(unaligned_volatile_write, size, true, true)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
extern "C" HOST void __tsan_read_range(void* at, size_t size) {
  races::touch(at, size, false, false, __builtin_return_address(0));
}
extern "C" HOST void __tsan_write_range(void* at, size_t size) {
  races::touch(at, size, true, false, __builtin_return_address(0));
}
extern "C" HOST void __tsan_vptr_update(void**, void*) {}
extern "C" HOST void __tsan_init() {}
extern "C" HOST void __tsan_func_entry(void*) {}
extern "C" HOST void __tsan_func_exit() {}
