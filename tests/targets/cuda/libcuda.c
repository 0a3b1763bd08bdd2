// A libcuda.so.1 without a GPU: NVIDIA's own bindings call it, so that what they make of facula's arguments is seen.
//
// Each call is a line in the file that CUDA_LOG names: its name, some numbers, and its status where that is none of
// success. CUDA_INIT is what cuInit answers, CUDA_VERSION the newest CUDA that it is for, CUDA_CAPABILITY that of the
// GPU. Handles that it has not given out, addresses that are no memory of its own, and calls in threads without a
// context are refused. Kernels do nothing; copies are done at once.
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __has_include(<cuda.h>)  // then the compiler sees that these are NVIDIA's functions
#include <cuda.h>
#undef cuDeviceTotalMem
#undef cuMemAlloc
#undef cuMemFree
#undef cuMemGetInfo
#undef cuMemcpyHtoDAsync
#undef cuMemcpyDtoHAsync
#undef cuMemcpyDtoDAsync
#undef cuEventDestroy
#undef cuEventElapsedTime
#undef cuStreamBeginCapture
#undef cuGetProcAddress
#undef cuGraphInstantiate
#else
typedef enum {
    CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_OUT_OF_MEMORY = 2, CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_INVALID_DEVICE = 101, CUDA_ERROR_INVALID_IMAGE = 200, CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_INVALID_HANDLE = 400, CUDA_ERROR_ILLEGAL_STATE = 401, CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600, CUDA_ERROR_NOT_SUPPORTED = 801, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
} CUresult;
typedef enum {
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76
} CUdevice_attribute;
typedef enum { CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2 } CUpointer_attribute;
typedef enum { CU_MEMORYTYPE_HOST = 1, CU_MEMORYTYPE_DEVICE = 2 } CUmemorytype;
typedef enum { CU_STREAM_CAPTURE_MODE_GLOBAL = 0, CU_STREAM_CAPTURE_MODE_RELAXED = 2 } CUstreamCaptureMode;
typedef enum { CU_GET_PROC_ADDRESS_SUCCESS = 0, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND = 1 } CUdriverProcAddressQueryResult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr, cuuint64_t;
typedef struct { char bytes[16]; } CUuuid;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;
#endif

#define MOST 4096
enum Kind { NOTHING, CONTEXT, STREAM, EVENT, MODULE, FUNCTION, GRAPH, EXECUTABLE };
static struct { void *at; enum Kind kind; int nodes; } objects[MOST];
static struct { char *at; size_t size; int host; } memory[MOST];
static int object_count, memory_count, started;
static CUcontext context;
static __thread CUcontext current;
static __thread CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
static CUstream captured;
static int capture_nodes;

static int setting(const char *name, int otherwise) { return getenv(name) ? atoi(getenv(name)) : otherwise; }

static CUresult said(CUresult status, const char *format, ...) {
    static FILE *log;
    if (!log) log = fopen(getenv("CUDA_LOG") ? getenv("CUDA_LOG") : "/dev/null", "a");
    va_list values;
    va_start(values, format);
    vfprintf(log, format, values);
    va_end(values);
    fprintf(log, status ? " -> %d\n" : "\n", status);
    fflush(log);
    return status;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *made(enum Kind kind) {
    void *at = malloc(16);  // nothing else has its address
    int i = 0;
    pthread_mutex_lock(&lock);
    while (i < object_count && objects[i].kind != NOTHING) ++i;
    if (i == MOST) abort();
    if (i == object_count) ++object_count;
    objects[i].at = at;
    objects[i].kind = kind;
    objects[i].nodes = capture_nodes;
    pthread_mutex_unlock(&lock);
    return at;
}

static int find(const void *at, enum Kind kind) {
    int found = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < object_count; ++i)
        if (objects[i].at == at && objects[i].kind == kind) found = i;
    pthread_mutex_unlock(&lock);
    return found;
}

static CUresult end(void *at, enum Kind kind) {
    int i = find(at, kind);
    if (i < 0) return CUDA_ERROR_INVALID_HANDLE;
    objects[i].kind = NOTHING;
    free(at);
    return CUDA_SUCCESS;
}

static int inside(const void *at, size_t size, int host) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < memory_count; ++i)
        found |= memory[i].host == host && memory[i].at <= (char *)at &&
                 (char *)at + size <= memory[i].at + memory[i].size;
    pthread_mutex_unlock(&lock);
    return found;
}

static void *given(size_t size, int host) {
    void *at = NULL;
    if (posix_memalign(&at, 512, size)) abort();
    memset(at, 0xA5, size);
    pthread_mutex_lock(&lock);
    if (memory_count == MOST) abort();
    memory[memory_count].at = at;
    memory[memory_count].size = size;
    memory[memory_count++].host = host;
    pthread_mutex_unlock(&lock);
    return at;
}

static CUresult given_back(void *at, int host) {
    CUresult status = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < memory_count && status; ++i)
        if (memory[i].at == at && memory[i].host == host) {
            memory[i] = memory[--memory_count];
            status = CUDA_SUCCESS;
        }
    pthread_mutex_unlock(&lock);
    if (!status) free(at);
    return status;
}

static int is_stream(CUstream s) { return s == NULL || find(s, STREAM) >= 0; }
static CUresult ready(void) { return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }
// What a capture refuses in threads that do not say that it need not see them.
static CUresult unsafe(void) {
    return captured && mode != CU_STREAM_CAPTURE_MODE_RELAXED ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : ready();
}
static CUresult on(CUstream s) { return ready() ? ready() : is_stream(s) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }

CUresult cuInit(unsigned flags) {
    started = 1;
    return said(flags ? CUDA_ERROR_INVALID_VALUE : setting("CUDA_INIT", CUDA_SUCCESS), "cuInit %u", flags);
}
CUresult cuGetExportTable(const void **table, const CUuuid *id) {  // which NVRTC asks for
    *table = NULL;
    return id ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuDriverGetVersion(int *version) {
    *version = setting("CUDA_VERSION", 99000);
    return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_INVALID_HANDLE ? "invalid resource handle" : "another error";
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *count) { *count = 1; return started ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED; }
CUresult cuDeviceGet(CUdevice *device, int number) {
    *device = 0;
    return said(number ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS, "cuDeviceGet %d", number);
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    int capability = setting("CUDA_CAPABILITY", 90);
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = capability / 10; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = capability % 10; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
    default: return said(CUDA_ERROR_INVALID_VALUE, "cuDeviceGetAttribute %d", attribute);
    }
    return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
    snprintf(name, size, "GPU of C");
    return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
    *bytes = (size_t)150 << 30;
    return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *found, CUdevice device) {
    if (!context) context = made(CONTEXT);
    *found = context;
    return said(device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS, "cuDevicePrimaryCtxRetain");
}
CUresult cuCtxSetCurrent(CUcontext given) {
    if (find(given, CONTEXT) < 0) return said(CUDA_ERROR_INVALID_CONTEXT, "cuCtxSetCurrent");
    current = given;
    return said(CUDA_SUCCESS, "cuCtxSetCurrent");
}
CUresult cuCtxSynchronize(void) { return said(unsafe(), "cuCtxSynchronize"); }

CUresult cuMemAlloc(CUdeviceptr *at, size_t size) {
    CUresult status = unsafe() ? unsafe() : size > (size_t)1 << 30 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
    if (!status) *at = (CUdeviceptr)given(size, 0);
    return said(status, "cuMemAlloc %zu", size);
}
CUresult cuMemFree(CUdeviceptr at) { return said(unsafe() ? unsafe() : given_back((void *)at, 0), "cuMemFree"); }
CUresult cuMemGetInfo(size_t *free, size_t *total) {
    *free = (size_t)140 << 30;
    *total = (size_t)150 << 30;
    return ready();
}
CUresult cuMemHostAlloc(void **at, size_t size, unsigned flags) {
    CUresult status = unsafe();
    if (!status) *at = given(size, 1);
    return said(status, "cuMemHostAlloc %zu %u", size, flags);
}
CUresult cuMemFreeHost(void *at) { return said(unsafe() ? unsafe() : given_back(at, 1), "cuMemFreeHost"); }
CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr at) {
    int device = inside((void *)at, 1, 0);
    if (attribute != CU_POINTER_ATTRIBUTE_MEMORY_TYPE || !(device || inside((void *)at, 1, 1)))
        return CUDA_ERROR_INVALID_VALUE;
    *(CUmemorytype *)value = device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    return ready();
}

static CUresult copy(const char *name, void *to, const void *start, size_t size, int to_gpu, int from_gpu, CUstream s) {
    CUresult status = on(s);
    if (!status && ((to_gpu && !inside(to, size, 0)) || (from_gpu && !inside(start, size, 0))))
        status = CUDA_ERROR_INVALID_VALUE;
    if (!status && captured && s == captured) ++capture_nodes;
    else if (!status) memcpy(to, start, size);
    return said(status, "%s %zu %d", name, size, s ? 1 : 0);
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *start, size_t size, CUstream s) {
    return copy("cuMemcpyHtoDAsync", (void *)to, start, size, 1, 0, s);
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr start, size_t size, CUstream s) {
    return copy("cuMemcpyDtoHAsync", to, (void *)start, size, 0, 1, s);
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr start, size_t size, CUstream s) {
    return copy("cuMemcpyDtoDAsync", (void *)to, (void *)start, size, 1, 1, s);
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    int elf = !memcmp(image, "\177ELF", 4), ptx = strstr(image, ".version") != NULL;
    *module = made(MODULE);
    return said(unsafe() ? unsafe() : elf || ptx ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE,
                "cuModuleLoadData %s", elf ? "cubin" : "ptx");
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    *function = made(FUNCTION);
    return said(find(module, MODULE) < 0 ? CUDA_ERROR_INVALID_HANDLE : unsafe(), "cuModuleGetFunction %s", name);
}
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, CUstream s, void **arguments, void **extra) {
    CUresult status = on(s) ? on(s) : find(function, FUNCTION) < 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
    if (!status && (!gx || !gy || gz != 1 || !bx || !by || bz != 1 || shared || !arguments || extra))
        status = CUDA_ERROR_INVALID_VALUE;
    if (!status && captured && s == captured) ++capture_nodes;
    return said(status, "cuLaunchKernel %u %u %u %u %d", gx, gy, bx, by, s ? 1 : 0);
}

CUresult cuStreamCreateWithPriority(CUstream *s, unsigned flags, int priority) {
    *s = made(STREAM);
    return said(ready(), "cuStreamCreateWithPriority %u %d", flags, priority);
}
CUresult cuStreamSynchronize(CUstream s) {
    usleep(20000);
    return said(captured && s == captured ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : on(s), "cuStreamSynchronize");
}
CUresult cuStreamQuery(CUstream s) { return said(on(s) ? on(s) : CUDA_ERROR_NOT_READY, "cuStreamQuery"); }
CUresult cuStreamWaitEvent(CUstream s, CUevent event, unsigned flags) {
    return said(on(s) ? on(s) : find(event, EVENT) < 0 || flags ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS,
                "cuStreamWaitEvent");
}
CUresult cuEventCreate(CUevent *event, unsigned flags) {
    *event = made(EVENT);
    return said(ready(), "cuEventCreate %u", flags);
}
CUresult cuEventDestroy(CUevent event) { return said(ready() ? ready() : end(event, EVENT), "cuEventDestroy"); }
CUresult cuEventRecord(CUevent event, CUstream s) {
    return said(on(s) ? on(s) : find(event, EVENT) < 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS, "cuEventRecord");
}
static CUresult event_good(CUevent event) { return find(event, EVENT) < 0 ? CUDA_ERROR_INVALID_HANDLE : ready(); }
CUresult cuEventQuery(CUevent event) { return said(event_good(event), "cuEventQuery"); }
CUresult cuEventSynchronize(CUevent event) { return said(event_good(event), "cuEventSynchronize"); }
CUresult cuEventElapsedTime(float *found, CUevent start, CUevent finish) {
    *found = 1.5f;
    return said(event_good(start) ? event_good(start) : event_good(finish), "cuEventElapsedTime");
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *other) {
    CUstreamCaptureMode before = mode;
    mode = *other;
    *other = before;
    return said(CUDA_SUCCESS, "cuThreadExchangeStreamCaptureMode %d", mode);
}
CUresult cuStreamBeginCapture(CUstream s, CUstreamCaptureMode how) {
    CUresult status = on(s) ? on(s) : s == NULL || captured ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
    if (!status) captured = s, capture_nodes = 0;
    return said(status, "cuStreamBeginCapture %d", how);
}
CUresult cuStreamEndCapture(CUstream s, CUgraph *graph) {
    if (s != captured) return said(CUDA_ERROR_ILLEGAL_STATE, "cuStreamEndCapture");
    captured = NULL;
    *graph = made(GRAPH);
    return said(CUDA_SUCCESS, "cuStreamEndCapture %d", capture_nodes);
}
CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
    int i = find(graph, GRAPH);
    if (i >= 0 && !nodes) *count = objects[i].nodes;
    return said(i < 0 || nodes ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS, "cuGraphGetNodes");
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
    *executable = made(EXECUTABLE);
    return said(find(graph, GRAPH) < 0 ? CUDA_ERROR_INVALID_HANDLE : ready(), "cuGraphInstantiate %llu", flags);
}
CUresult cuGraphLaunch(CUgraphExec executable, CUstream s) {
    return said(on(s) ? on(s) : find(executable, EXECUTABLE) < 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS,
                "cuGraphLaunch");
}
CUresult cuGraphDestroy(CUgraph graph) { return said(end(graph, GRAPH), "cuGraphDestroy"); }
CUresult cuGraphExecDestroy(CUgraphExec executable) { return said(end(executable, EXECUTABLE), "cuGraphExecDestroy"); }
CUresult cuGraphDebugDotPrint(CUgraph graph, const char *path, unsigned flags) {
    return said(find(graph, GRAPH) < 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS, "cuGraphDebugDotPrint %s %u", path,
                flags);
}

CUresult cuGetProcAddress_v2(const char *name, void **found, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *how) {
    *found = dlsym(RTLD_DEFAULT, name);
    if (strcmp(name, "cuGraphInstantiate") == 0) *found = cuGraphInstantiateWithFlags;
    if (strcmp(name, "cuGetProcAddress") == 0) *found = cuGetProcAddress_v2;
    if (how) *how = *found ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *found ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
