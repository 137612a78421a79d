/* 3x3 convolutions with padding 1, stride 1, by Winograd's F(6x6, 3x3): 64 multiplications for 36 outputs, not 324.
 *
 * A picture is (height, width, channels) float, channels innermost. Each thread takes a block of TILES tiles through
 * all three stages (transform, 64 small matrix products, back) while it lies in the core's own cache; a library that
 * transforms whole pictures at once waits for memory instead. What follows a convolution (slope, residuals) is done
 * before its result leaves the registers, and a convolution reads two sources, so that nothing is ever concatenated.
 *
 * Vectors are the compiler's portable ones: AVX2 and FMA on x86-64, NEON on ARM.
 */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#endif

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANE = 8,           /* floats in a vector */
    IN = 8,             /* side of a tile's input */
    OUT = 6,            /* side of a tile's output */
    POINTS = IN * IN,   /* matrix products per block */
    ROWS = 6,           /* tiles in one step of a product: 6 x 16 sums fill the registers */
    COLUMNS = 16,       /* output channels in one step; `outputs` of a convolution is a multiple of it */
    TILES = 24,         /* tiles of a block, a multiple of ROWS: its numbers fit in half a megabyte of cache */
    SKEW = 16,          /* floats between matrices, so that they do not all fall on the same lines of the cache */
    MAX_THREADS = 256
};

typedef float vec __attribute__((vector_size(4 * LANE)));
typedef int32_t mask __attribute__((vector_size(4 * LANE)));
typedef float vec_anywhere __attribute__((vector_size(4 * LANE), aligned(4)));

#define LOAD(from) ((vec)*(const vec_anywhere *)(from))
#define STORE(to, value) (*(vec_anywhere *)(to) = (value))

/* A source, target or residual: `step` floats from pixel to pixel. */
typedef struct {
    float *data;
    int64_t step;
} Plane;

/* out = second.k * (first.k * act(conv(source)) + first) + second; a residual without data is left out.
 * `weights`: [POINTS][outputs / COLUMNS][inputs][COLUMNS], already transformed. `slope`: what a negative sum is
 * multiplied with, per output. `shift`: the source is enlarged 2^shift times, each pixel repeated. */
typedef struct {
    Plane source[2];
    int32_t channels[2], shift, outputs;
    const float *weights, *bias, *slope;
    Plane first, second;
    float first_factor, second_factor;
    Plane target;
    int32_t height, width;
} Convolution;

/* Rows of the input transform: the points 0, 1, -1, 1/2, -1/2, 2, -2 and infinity. In place. */
static inline void transform_in(vec *d, int step)
{
    vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    vec d4 = d[4 * step], d5 = d[5 * step], d6 = d[6 * step], d7 = d[7 * step];
    vec even1 = d2 + d6 - 4.25f * d4, odd1 = d1 + d5 - 4.25f * d3;
    vec even2 = d6 + 0.25f * d2 - 1.25f * d4, odd2 = 0.5f * d1 - 2.5f * d3 + 2.0f * d5;
    vec even3 = d6 + 4.0f * (d2 - 1.25f * d4), odd3 = 2.0f * d1 - 2.5f * d3 + 0.5f * d5;
    d[0] = d0 - d6 + 5.25f * (d4 - d2);
    d[step] = even1 + odd1;
    d[2 * step] = even1 - odd1;
    d[3 * step] = even2 + odd2;
    d[4 * step] = even2 - odd2;
    d[5 * step] = even3 + odd3;
    d[6 * step] = even3 - odd3;
    d[7 * step] = d7 - d1 + 5.25f * (d3 - d5);
}

static inline void transform_out(const vec *m, int step, vec *out, int out_step)
{
    vec sum1 = m[step] + m[2 * step], difference1 = m[step] - m[2 * step];
    vec sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
    vec sum3 = m[5 * step] + m[6 * step], difference3 = m[5 * step] - m[6 * step];
    out[0] = m[0] + sum1 + sum2 + 32.0f * sum3;
    out[out_step] = difference1 + 2.0f * difference2 + 16.0f * difference3;
    out[2 * out_step] = sum1 + 4.0f * sum2 + 8.0f * sum3;
    out[3 * out_step] = difference1 + 8.0f * difference2 + 4.0f * difference3;
    out[4 * out_step] = sum1 + 16.0f * sum2 + 2.0f * sum3;
    out[5 * out_step] = m[7 * step] + difference1 + 32.0f * difference2 + difference3;
}

/* The IN x IN patch whose first pixel is (top, left); beyond the picture lie zeros. */
static inline void gather(const Convolution *c, Plane source, int top, int left, vec *d)
{
    int inside = top >= 0 && left >= 0 && top + IN <= c->height && left + IN <= c->width;
    int64_t row = c->width >> c->shift;
    if (inside && !c->shift) {
        for (int y = 0; y < IN; y++)
            for (int x = 0; x < IN; x++)
                d[y * IN + x] = LOAD(source.data + ((top + y) * row + left + x) * source.step);
        return;
    }
    for (int y = 0; y < IN; y++) {
        for (int x = 0; x < IN; x++) {
            int from_y = top + y, from_x = left + x;
            int beyond = from_y < 0 || from_x < 0 || from_y >= c->height || from_x >= c->width;
            int64_t pixel = (from_y >> c->shift) * row + (from_x >> c->shift);
            d[y * IN + x] = beyond ? (vec){0} : LOAD(source.data + pixel * source.step);
        }
    }
}

static void read_tile(const Convolution *c, int tile_y, int tile_x, float *into, int64_t stride)
{
    vec d[POINTS];
    for (int part = 0; part < 2; part++) {
        for (int channel = 0; channel < c->channels[part]; channel += LANE, into += LANE) {
            Plane source = {c->source[part].data + channel, c->source[part].step};
            gather(c, source, tile_y * OUT - 1, tile_x * OUT - 1, d);
            for (int x = 0; x < IN; x++)
                transform_in(d + x, IN);
            for (int y = 0; y < IN; y++)
                transform_in(d + y * IN, 1);
            for (int point = 0; point < POINTS; point++)
                STORE(into + point * stride, d[point]);
        }
    }
}

/* (ROWS, inputs) times (inputs, COLUMNS), the second matrix packed. */
static inline void multiply(const float *a, int64_t inputs, const float *b, float *out, int64_t outputs)
{
    vec left[ROWS] = {{0}}, right[ROWS] = {{0}};
    for (int64_t i = 0; i < inputs; i++, b += COLUMNS) {
        vec b0 = LOAD(b), b1 = LOAD(b + LANE);
#pragma GCC unroll 6
        for (int row = 0; row < ROWS; row++) {
            float value = a[row * inputs + i];
            left[row] += value * b0;
            right[row] += value * b1;
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++) {
        STORE(out + row * outputs, left[row]);
        STORE(out + row * outputs + LANE, right[row]);
    }
}

static inline vec finished(const Convolution *c, vec sum, int channel, int64_t pixel)
{
    mask positive = sum > (vec){0};
    /* Not max and min: those would hide a NaN, which has to be seen at the end. */
    vec negative = sum * LOAD(c->slope + channel);
    sum = (vec)(((mask)sum & positive) | ((mask)negative & ~positive));
    if (c->first.data)
        sum = sum * c->first_factor + LOAD(c->first.data + pixel * c->first.step + channel);
    if (c->second.data)
        sum = sum * c->second_factor + LOAD(c->second.data + pixel * c->second.step + channel);
    return sum;
}

static void write_tile(const Convolution *c, int tile_y, int tile_x, const float *from, int64_t stride)
{
    vec m[POINTS], half[IN * OUT], out[OUT * OUT];
    int top = tile_y * OUT, left = tile_x * OUT;
    int rows = c->height - top < OUT ? c->height - top : OUT, columns = c->width - left < OUT ? c->width - left : OUT;
    for (int channel = 0; channel < c->outputs; channel += LANE) {
        for (int point = 0; point < POINTS; point++)
            m[point] = LOAD(from + point * stride + channel);
        for (int y = 0; y < IN; y++)
            transform_out(m + y * IN, 1, half + y * OUT, 1);
        for (int x = 0; x < OUT; x++)
            transform_out(half + x, OUT, out + x, OUT);
        vec bias = LOAD(c->bias + channel);
        for (int y = 0; y < rows; y++) {
            for (int x = 0; x < columns; x++) {
                int64_t pixel = (int64_t)(top + y) * c->width + left + x;
                vec value = finished(c, out[y * OUT + x] + bias, channel, pixel);
                STORE(c->target.data + pixel * c->target.step + channel, value);
            }
        }
    }
}

static void block(const Convolution *c, int first, int count, float *in, float *out)
{
    int64_t inputs = c->channels[0] + c->channels[1], outputs = c->outputs;
    int64_t in_stride = TILES * inputs + SKEW, out_stride = TILES * outputs + SKEW;
    int per_row = (c->width + OUT - 1) / OUT;
    for (int tile = 0; tile < count; tile++)
        read_tile(c, (first + tile) / per_row, (first + tile) % per_row, in + tile * inputs, in_stride);
    for (int point = 0; point < POINTS; point++)
        for (int64_t channel = 0; channel < outputs; channel += COLUMNS)
            for (int tile = 0; tile < count; tile += ROWS) /* the last rows may be an earlier block's: not used */
                multiply(in + point * in_stride + tile * inputs, inputs,
                         c->weights + (point * outputs + channel) * inputs,
                         out + point * out_stride + tile * outputs + channel, outputs);
    for (int tile = 0; tile < count; tile++)
        write_tile(c, (first + tile) / per_row, (first + tile) % per_row, out + tile * outputs, out_stride);
}

static int tiles_of(const Convolution *c)
{
    return ((c->height + OUT - 1) / OUT) * ((c->width + OUT - 1) / OUT);
}

typedef struct {
    const Convolution *convolutions;
    int count;
    atomic_int *next; /* per convolution: the first tile that no thread has taken */
    size_t in_bytes, out_bytes;
    atomic_int failed;
    pthread_mutex_t gate; /* closed until the number of threads is known */
    pthread_barrier_t together;
} Work;

static void *run_thread(void *argument)
{
    Work *work = argument;
    pthread_mutex_lock(&work->gate);
    pthread_mutex_unlock(&work->gate);
    float *in = aligned_alloc(64, work->in_bytes), *out = aligned_alloc(64, work->out_bytes);
    if (in && out)
        memset(in, 0, work->in_bytes);
    else
        atomic_store(&work->failed, 1);
    pthread_barrier_wait(&work->together);
    for (int i = 0; i < work->count && !atomic_load(&work->failed); i++) {
        const Convolution *c = work->convolutions + i;
        int tiles = tiles_of(c), first;
        while ((first = atomic_fetch_add(work->next + i, TILES)) < tiles)
            block(c, first, tiles - first < TILES ? tiles - first : TILES, in, out);
        pthread_barrier_wait(&work->together); /* the next convolution reads what all threads wrote */
    }
    free(in);
    free(out);
    return NULL;
}

static size_t scratch_bytes(int64_t channels)
{
    return POINTS * (TILES * channels + SKEW) * sizeof(float); /* a multiple of 64 */
}

/* The convolutions one after the other, each by up to `threads` threads. 0: done; -1: no memory. */
int winograd_run(const Convolution *convolutions, int count, int threads)
{
    Work work = {.convolutions = convolutions, .count = count, .gate = PTHREAD_MUTEX_INITIALIZER};
    int64_t inputs = 0, outputs = 0;
    int blocks = 1;
    for (int i = 0; i < count; i++) {
        int needed = (tiles_of(convolutions + i) + TILES - 1) / TILES;
        blocks = needed > blocks ? needed : blocks;
        int64_t channels = convolutions[i].channels[0] + convolutions[i].channels[1];
        inputs = channels > inputs ? channels : inputs;
        outputs = convolutions[i].outputs > outputs ? convolutions[i].outputs : outputs;
    }
    work.in_bytes = scratch_bytes(inputs);
    work.out_bytes = scratch_bytes(outputs);
    work.next = calloc(count, sizeof(atomic_int));
    if (!work.next)
        return -1;
    threads = threads < blocks ? threads : blocks; /* a thread without work would only be waited for */
    pthread_t started[MAX_THREADS];
    int others = 0;
    pthread_mutex_lock(&work.gate);
    while (others < threads - 1 && others < MAX_THREADS && !pthread_create(started + others, NULL, run_thread, &work))
        others++;
    pthread_barrier_init(&work.together, NULL, others + 1); /* as many as could be started */
    pthread_mutex_unlock(&work.gate);
    run_thread(&work);
    for (int i = 0; i < others; i++)
        pthread_join(started[i], NULL);
    pthread_barrier_destroy(&work.together);
    pthread_mutex_destroy(&work.gate);
    free(work.next);
    return atomic_load(&work.failed) ? -1 : 0;
}

/* Whether this machine has what the library was compiled for. */
int winograd_supported(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}
