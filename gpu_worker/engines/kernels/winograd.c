/* Chooses the kernels, and runs convolutions on several threads. */
#include "winograd.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 256 };

#if defined(__x86_64__)
extern const Kernels winograd_avx512, winograd_avx2;
static const Kernels *const COMPILED[] = {&winograd_avx512, &winograd_avx2};
#else
extern const Kernels winograd_neon;
static const Kernels *const COMPILED[] = {&winograd_neon};
#endif

/* The kernels that this machine can run, by number, the fastest first; NULL after the last. */
const Kernels *winograd_kernels(int number)
{
    for (size_t i = 0; i < sizeof COMPILED / sizeof *COMPILED; i++)
        if (COMPILED[i]->supported() && number-- == 0)
            return COMPILED[i];
    return NULL;
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static int tiles_of(const Convolution *c)
{
    return ((c->height + OUT - 1) / OUT) * ((c->width + OUT - 1) / OUT);
}

typedef struct {
    const Kernels *kernels;
    const Convolution *convolutions;
    int count, threads;
    atomic_int *next; /* per convolution: the first block that no thread has taken */
    size_t in_bytes, out_bytes;
    atomic_int failed;
    pthread_mutex_t gate; /* closed until the number of threads is known; then it guards `spent` */
    pthread_barrier_t together;
    Spent spent;
} Work;

/* The tiles of a block; 0 after the last. The last ones are small, so that all threads end at nearly the same time. */
static int cut(const Work *work, const Convolution *c, int number, int *first)
{
    int tiles = tiles_of(c), whole = work->kernels->tiles, small = work->kernels->rows;
    int wholes = tiles / whole - work->threads;
    wholes = wholes < 0 ? 0 : wholes;
    int size = number < wholes ? whole : small;
    *first = number < wholes ? number * whole : wholes * whole + (number - wholes) * small;
    int left = tiles - *first;
    return left < 0 ? 0 : left < size ? left : size;
}

static void run_convolution(Work *work, int index, float *in, float *out, Spent *spent)
{
    const Convolution *c = work->convolutions + index;
    int first, count;
    while ((count = cut(work, c, atomic_fetch_add(work->next + index, 1), &first)))
        work->kernels->block(c, first, count, in, out, spent);
}

static void wait_for_others(Work *work, Spent *spent)
{
    double began = now();
    pthread_barrier_wait(&work->together);
    spent->wait += now() - began;
}

static void add(Work *work, const Spent *spent)
{
    pthread_mutex_lock(&work->gate);
    work->spent.read += spent->read;
    work->spent.multiply += spent->multiply;
    work->spent.write += spent->write;
    work->spent.wait += spent->wait;
    pthread_mutex_unlock(&work->gate);
}

static void *run_thread(void *argument)
{
    Work *work = argument;
    Spent spent = {0};
    pthread_mutex_lock(&work->gate);
    pthread_mutex_unlock(&work->gate);
    float *in = aligned_alloc(64, work->in_bytes), *out = aligned_alloc(64, work->out_bytes);
    if (in && out)
        memset(in, 0, work->in_bytes);
    else
        atomic_store(&work->failed, 1);
    wait_for_others(work, &spent);
    for (int i = 0; i < work->count && !atomic_load(&work->failed); i++) {
        run_convolution(work, i, in, out, &spent);
        wait_for_others(work, &spent); /* the next convolution reads what all threads wrote */
    }
    free(in);
    free(out);
    add(work, &spent);
    return NULL;
}

static int larger(int one, int other)
{
    return one > other ? one : other;
}

/* The scratch that the largest convolution needs, and no more threads than it has blocks: one without work would only
 * be waited for. */
static void prepare(Work *work)
{
    const Kernels *kernels = work->kernels;
    int inputs = 0, outputs = 0, blocks = 1;
    for (int i = 0; i < work->count; i++) {
        const Convolution *c = work->convolutions + i;
        inputs = larger(inputs, c->channels[0] + c->channels[1]);
        outputs = larger(outputs, c->outputs);
        blocks = larger(blocks, (tiles_of(c) + kernels->rows - 1) / kernels->rows);
    }
    inputs = inputs < kernels->depth ? inputs : kernels->depth;
    work->in_bytes = kernels->scratch_bytes(inputs);
    work->out_bytes = kernels->scratch_bytes(outputs);
    work->threads = work->threads < blocks ? work->threads : blocks;
}

/* The convolutions one after the other, each by up to `threads` threads; adds to `spent`. 0: done; -1: no memory. */
int winograd_run(const Kernels *kernels, const Convolution *convolutions, int count, int threads, Spent *spent)
{
    Work work = {.kernels = kernels, .convolutions = convolutions, .count = count, .threads = threads, .spent = *spent};
    work.next = calloc(count, sizeof(atomic_int));
    if (!work.next)
        return -1;
    prepare(&work);
    pthread_mutex_init(&work.gate, NULL);
    pthread_t started[MAX_THREADS];
    int others = 0;
    pthread_mutex_lock(&work.gate);
    while (others < work.threads - 1 && others < MAX_THREADS &&
           !pthread_create(started + others, NULL, run_thread, &work))
        others++;
    pthread_barrier_init(&work.together, NULL, others + 1); /* as many as could be started */
    pthread_mutex_unlock(&work.gate);
    run_thread(&work);
    for (int i = 0; i < others; i++)
        pthread_join(started[i], NULL);
    pthread_barrier_destroy(&work.together);
    pthread_mutex_destroy(&work.gate);
    free(work.next);
    *spent = work.spent;
    return atomic_load(&work.failed) ? -1 : 0;
}
