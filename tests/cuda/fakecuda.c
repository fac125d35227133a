/* A libcuda.so.1 without a GPU, for the host's side of the CUDA engine: memory is the host's, a launch is a line in a log.
 *
 * It has the functions that numbaconv calls and no others; cuda.bindings finds them through cuGetProcAddress.  What it
 * pretends to be is said by FAKECUDA_DRIVER (13000), FAKECUDA_DEVICES (1) and FAKECUDA_MAJOR (9); the log goes to the
 * file FAKECUDA_LOG.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_FOUND = 500 };

typedef uint64_t Address;

static int setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static FILE *log_file(void) {
    static FILE *file;
    if (!file) file = fopen(getenv("FAKECUDA_LOG") ? getenv("FAKECUDA_LOG") : "/dev/null", "a");
    return file;
}

#define LOG(...) (fprintf(log_file(), __VA_ARGS__), fflush(log_file()))

int cuInit(unsigned flags) { return setting("FAKECUDA_DEVICES", 1) ? SUCCESS : NO_DEVICE; }
int cuDriverGetVersion(int *version) { *version = setting("FAKECUDA_DRIVER", 13000); return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = setting("FAKECUDA_DEVICES", 1); return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return SUCCESS; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Fake GPU"); return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? setting("FAKECUDA_MAJOR", 9) : 0; /* 75 and 76: compute capability, major and minor */
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0x100; return SUCCESS; }
int cuCtxSetCurrent(void *context) { return SUCCESS; }
int cuGetErrorName(int error, const char **name) { *name = error ? "CUDA_ERROR_FAKE" : "CUDA_SUCCESS"; return SUCCESS; }
int cuGetErrorString(int error, const char **text) { *text = error ? "fake error" : "no error"; return SUCCESS; }

int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x200; return SUCCESS; }
int cuStreamSynchronize(void *stream) { LOG("wait\n"); return SUCCESS; }

int cuEventCreate(void **event, unsigned flags) { *event = (void *)0x300; return SUCCESS; }
int cuEventRecord(void *event, void *stream) { return SUCCESS; }
int cuEventSynchronize(void *event) { return SUCCESS; }
int cuEventElapsedTime(float *milliseconds, void *first, void *last) { *milliseconds = 1; return SUCCESS; }
int cuEventDestroy(void *event) { return SUCCESS; }

int cuMemAllocAsync(Address *address, size_t size, void *stream) {
    void *found;
    if (posix_memalign(&found, 512, size)) return OUT_OF_MEMORY;
    memset(found, 0, size); /* what nothing writes is the number zero */
    *address = (Address)(uintptr_t)found;
    LOG("allocate %zu\n", size);
    return SUCCESS;
}
int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = (void *)0x400; return SUCCESS; }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) { LOG("keep %llu\n", *(unsigned long long *)value); return SUCCESS; }
int cuMemFreeAsync(Address address, void *stream) { free((void *)(uintptr_t)address); return SUCCESS; }
int cuMemcpyHtoDAsync(Address to, const void *from, size_t size, void *stream) {
    memcpy((void *)(uintptr_t)to, from, size);
    LOG("upload %zu\n", size);
    return SUCCESS;
}
int cuMemcpyDtoHAsync(void *to, Address from, size_t size, void *stream) {
    memcpy(to, (const void *)(uintptr_t)from, size);
    LOG("download %zu\n", size);
    return SUCCESS;
}
int cuMemcpyDtoDAsync(Address to, Address from, size_t size, void *stream) {
    memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, size);
    LOG("copy %zu\n", size);
    return SUCCESS;
}

int cuModuleLoadData(void **module, const void *image) {
    if (memcmp(image, "\177ELF", 4)) return INVALID_VALUE; /* a cubin is an ELF file */
    *module = (void *)image;
    LOG("module\n");
    return SUCCESS;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = strdup(name);
    return name[0] ? SUCCESS : NOT_FOUND;
}
int cuFuncSetAttribute(void *function, int attribute, int value) { LOG("attribute %d %d\n", attribute, value); return SUCCESS; }

/* Tensor maps: what the driver's documentation asks for, with 128-byte swizzle; the map begins with the address. */
static int map_of(Address *map, int type, unsigned rank, Address address, const uint64_t *sizes, const uint64_t *pitches,
                  const unsigned *steps, int swizzle) {
    if ((uintptr_t)map % 64 || rank < 3 || rank > 5 || address % 16 || swizzle != 3) return INVALID_VALUE;
    for (unsigned i = 0; i < rank; ++i) {
        if (!sizes[i] || sizes[i] > 1ull << 32 || !steps[i] || steps[i] > 8) return INVALID_VALUE;
        if (i && (pitches[i - 1] % 16 || pitches[i - 1] >= 1ull << 40)) return INVALID_VALUE;
    }
    map[0] = address;
    return SUCCESS;
}
static unsigned bytes_of(int type) { return type == 7 ? 4 : type == 6 || type == 9 ? 2 : 1000; } /* fp32, fp16, bf16 */
int cuTensorMapEncodeTiled(Address *map, int type, unsigned rank, Address address, const uint64_t *sizes,
                           const uint64_t *pitches, const unsigned *box, const unsigned *steps, int interleave,
                           int swizzle, int promotion, int fill) {
    for (unsigned i = 0; i < rank; ++i) if (!box[i] || box[i] > 256) return INVALID_VALUE;
    if (box[0] * bytes_of(type) % 16 || box[0] * bytes_of(type) > 128) return INVALID_VALUE;
    LOG("tiled %u x %u x %u of %d x %d x %d\n", box[0], box[1], box[2], (int)sizes[0], (int)sizes[1], (int)sizes[2]);
    return map_of(map, type, rank, address, sizes, pitches, steps, swizzle);
}
int cuTensorMapEncodeIm2col(Address *map, int type, unsigned rank, Address address, const uint64_t *sizes,
                            const uint64_t *pitches, const int *lower, const int *upper, unsigned channels,
                            unsigned pixels, const unsigned *steps, int interleave, int swizzle, int promotion, int fill) {
    if (rank != 4 || channels > 256 || channels * bytes_of(type) > 128 || pixels > 1024) return INVALID_VALUE;
    for (int i = 0; i < 2; ++i) {
        if (lower[i] < -128 || lower[i] > 127 || upper[i] < -128 || upper[i] > 127) return INVALID_VALUE;
        if ((int64_t)sizes[1 + i] + upper[i] - lower[i] <= 0) return INVALID_VALUE; /* no place */
    }
    LOG("im2col %u x %u of %d x %d x %d x %d from %d, %d to %d, %d by %u, %u\n", channels, pixels, (int)sizes[0],
        (int)sizes[1], (int)sizes[2], (int)sizes[3], lower[0], lower[1], upper[0], upper[1], steps[1], steps[2]);
    return map_of(map, type, rank, address, sizes, pitches, steps, swizzle);
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    if (!gx || !gy || !gz || !bx || bx > 1024 || gy > 65535 || gz > 65535 || !arguments) return INVALID_VALUE;
    LOG("launch %u %u %u, %u threads, %u shared, first argument %llx\n", gx, gy, gz, bx, shared,
        *(unsigned long long *)arguments[0]);
    return SUCCESS;
}
int cuGraphCreate(void **graph, unsigned flags) { *graph = calloc(1, sizeof(uintptr_t)); return SUCCESS; }
typedef struct {
    void *function;
    unsigned gx, gy, gz, bx, by, bz, shared;
    void **arguments, **extra;
    void *kernel, *context;
} Node;
int cuGraphAddKernelNode_v2(void **node, uintptr_t *graph, const uintptr_t *before, size_t count, const Node *what) {
    if (!what->arguments || what->extra || !what->gx || !what->bx) return INVALID_VALUE;
    *node = (void *)++*graph;
    LOG("node %u %u %u, %u threads, %u shared, first argument %llx, behind", what->gx, what->gy, what->gz, what->bx,
        what->shared, *(unsigned long long *)what->arguments[0]);
    for (size_t i = 0; i < count; ++i) {
        if (!before[i] || before[i] >= *graph) return INVALID_VALUE; /* a node that is not there yet */
        LOG(" %d", (int)before[i] - 1);
    }
    LOG("\n");
    return SUCCESS;
}
int cuGraphInstantiate(void **executable, uintptr_t *graph, unsigned long long flags) {
    *executable = (void *)(0x1000 + *graph);
    return SUCCESS;
}
int cuGraphDestroy(void *graph) { free(graph); return SUCCESS; }
int cuGraphExecDestroy(void *executable) { return SUCCESS; }
int cuGraphLaunch(void *executable, void *stream) {
    LOG("graph of %d\n", (int)((uintptr_t)executable - 0x1000));
    return SUCCESS;
}

static void *found(const char *name) {
    static void *self;
    if (!self) {
        Dl_info info;
        dladdr((void *)cuInit, &info);
        self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    }
    return dlsym(self, name);
}
static int absent(void) { return NOT_FOUND; }
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    if (!strcmp(name, "cuGetProcAddress")) name = "cuGetProcAddress_v2";
    if (!strcmp(name, "cuGraphInstantiateWithFlags")) name = "cuGraphInstantiate";
    if (!strcmp(name, "cuGraphAddKernelNode")) name = "cuGraphAddKernelNode_v2";
    *function = found(name);
    if (!*function) *function = (void *)absent;
    if (status) *status = 0;
    return SUCCESS;
}
int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
