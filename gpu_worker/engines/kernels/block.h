/* What is done to one block of tiles, for the instruction set whose LANE, ROWS and TILES were defined before. Vectors are
 * the compiler's portable ones. */
#include "winograd.h"

enum {
    COLUMNS = 2 * LANE, /* ROWS x COLUMNS sums fill the registers */
    DEPTH = 64,         /* with TILES, what makes the numbers of a block fit into the cache beside the weights */
    SKEW = 16           /* floats between matrices, so that they do not all fall on the same lines of the cache */
};

typedef float vec __attribute__((vector_size(4 * LANE)));
typedef int32_t mask __attribute__((vector_size(4 * LANE)));
typedef float vec_anywhere __attribute__((vector_size(4 * LANE), aligned(4)));

#define LOAD(from) ((vec)*(const vec_anywhere *)(from))
#define STORE(to, value) (*(vec_anywhere *)(to) = (value))
#define INLINE static inline __attribute__((always_inline))

/* Eight pixels to the points 0, 1, -1, 1/2, -1/2, 2, -2 and infinity. */
INLINE void transform_in(const vec *d, vec *points)
{
    vec even1 = d[2] + d[6] - 4.25f * d[4], odd1 = d[1] + d[5] - 4.25f * d[3];
    vec even2 = d[6] + 0.25f * d[2] - 1.25f * d[4], odd2 = d[1] - 5.0f * d[3] + 4.0f * d[5];
    vec even3 = d[6] + 4.0f * (d[2] - 1.25f * d[4]), odd3 = d[5] - 5.0f * d[3] + 4.0f * d[1];
    points[0] = d[0] - d[6] + 5.25f * (d[4] - d[2]);
    points[1] = even1 + odd1;
    points[2] = even1 - odd1;
    points[3] = even2 + 0.5f * odd2;
    points[4] = even2 - 0.5f * odd2;
    points[5] = even3 + 0.5f * odd3;
    points[6] = even3 - 0.5f * odd3;
    points[7] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
}

/* Back: eight points to six pixels. */
INLINE void transform_out(const vec *points, vec *out)
{
    vec sum1 = points[1] + points[2], difference1 = points[1] - points[2];
    vec sum2 = points[3] + points[4], difference2 = points[3] - points[4];
    vec sum3 = points[5] + points[6], difference3 = points[5] - points[6];
    out[0] = points[0] + sum1 + sum2 + 32.0f * sum3;
    out[1] = difference1 + 2.0f * difference2 + 16.0f * difference3;
    out[2] = sum1 + 4.0f * sum2 + 8.0f * sum3;
    out[3] = difference1 + 8.0f * difference2 + 4.0f * difference3;
    out[4] = sum1 + 16.0f * sum2 + 2.0f * sum3;
    out[5] = points[7] + difference1 + 32.0f * difference2 + difference3;
}

/* Pixel (y, x) of the enlarged source; beyond the picture lie zeros. */
INLINE vec pixel_at(const Convolution *c, Plane source, int y, int x)
{
    if (y < 0 || x < 0 || y >= c->height || x >= c->width)
        return (vec){0};
    int64_t row = c->width >> c->shift;
    int64_t pixel = (y >> c->shift) * row + (x >> c->shift);
    return LOAD(source.data + pixel * source.step);
}

/* The IN pixels of column x from `top` downwards. */
INLINE void gather(const Convolution *c, Plane source, int top, int x, vec *pixels)
{
    int inside = top >= 0 && top + IN <= c->height && x >= 0 && x < c->width;
    if (inside && !c->shift) {
        int64_t row = c->width * source.step;
        const float *from = source.data + top * row + x * source.step;
#pragma GCC unroll 8
        for (int y = 0; y < IN; y++)
            pixels[y] = LOAD(from + y * row);
        return;
    }
#pragma GCC unroll 8
    for (int y = 0; y < IN; y++)
        pixels[y] = pixel_at(c, source, top + y, x);
}

/* A vector of channels of the patch whose first pixel is (top, left), transformed. `stride`: from point to point. */
static void read_patch(const Convolution *c, Plane source, int top, int left, float *into, int64_t stride)
{
    vec half[IN][IN], line[IN], points[IN];
    for (int x = 0; x < IN; x++) {
        gather(c, source, top, left + x, line);
        transform_in(line, points);
#pragma GCC unroll 8
        for (int y = 0; y < IN; y++)
            half[y][x] = points[y];
    }
    for (int y = 0; y < IN; y++) {
        transform_in(half[y], points);
#pragma GCC unroll 8
        for (int x = 0; x < IN; x++)
            STORE(into + (y * IN + x) * stride, points[x]);
    }
}

/* `inputs` channels from number `start` on, the two sources side by side. */
static void read_tile(const Convolution *c, int tile, int start, int inputs, float *into, int64_t stride)
{
    int per_row = (c->width + OUT - 1) / OUT;
    int top = tile / per_row * OUT - 1, left = tile % per_row * OUT - 1;
    for (int number = start; number < start + inputs; number += LANE, into += LANE) {
        int second = number >= c->channels[0];
        Plane source = c->source[second];
        source.data += second ? number - c->channels[0] : number;
        read_patch(c, source, top, left, into, stride);
    }
}

/* ROWS x `vectors` sums of `depth` products, added to `out` or written there. `step`: from row to row of `a`. */
INLINE void multiply(const float *a, int64_t step, const float *b, int vectors, int64_t depth, int adding, float *out,
                     int64_t outputs)
{
    vec sums[ROWS][2];
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sums[row][v] = adding ? LOAD(out + row * outputs + v * LANE) : (vec){0};
    for (int64_t i = 0; i < depth; i++, b += vectors * LANE) {
        vec weights[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            weights[v] = LOAD(b + v * LANE);
            /* The weights of the next product: those of a layer are more than the cache holds beside a block. */
            __builtin_prefetch(b + vectors * LANE * depth + v * LANE);
        }
#pragma GCC unroll 12
        for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sums[row][v] += a[row * step + i] * weights[v];
    }
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            STORE(out + row * outputs + v * LANE, sums[row][v]);
}

/* The products of `tiles` rows with the weights of `columns` outputs. */
static void multiply_rows(const float *a, int64_t step, const float *b, int columns, int64_t depth, int adding,
                          float *out, int64_t outputs, int tiles)
{
    /* The last rows may be an earlier block's: not used. */
    for (int tile = 0; tile < tiles; tile += ROWS, a += ROWS * step, out += ROWS * outputs) {
        if (columns == COLUMNS)
            multiply(a, step, b, 2, depth, adding, out, outputs);
        else
            multiply(a, step, b, 1, depth, adding, out, outputs);
    }
}

INLINE vec finished(const Convolution *c, vec sum, int channel, int64_t pixel)
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

/* A vector of outputs of one tile, from its points to the target. */
static void write_patch(const Convolution *c, int top, int left, int channel, const float *from, int64_t stride)
{
    vec half[OUT][IN], points[IN], line[OUT];
    for (int y = 0; y < IN; y++) {
#pragma GCC unroll 8
        for (int x = 0; x < IN; x++)
            points[x] = LOAD(from + (y * IN + x) * stride);
        transform_out(points, line);
#pragma GCC unroll 6
        for (int x = 0; x < OUT; x++)
            half[x][y] = line[x];
    }
    vec bias = LOAD(c->bias + channel);
    for (int x = 0; x < OUT && left + x < c->width; x++) {
        transform_out(half[x], line);
#pragma GCC unroll 6
        for (int y = 0; y < OUT; y++) {
            if (top + y >= c->height)
                break;
            int64_t pixel = (int64_t)(top + y) * c->width + left + x;
            vec value = finished(c, line[y] + bias, channel, pixel);
            STORE(c->target.data + pixel * c->target.step + channel, value);
        }
    }
}

static void write_tile(const Convolution *c, int tile, const float *from, int64_t stride)
{
    int per_row = (c->width + OUT - 1) / OUT;
    int top = tile / per_row * OUT, left = tile % per_row * OUT;
    for (int channel = 0; channel < c->outputs; channel += LANE)
        write_patch(c, top, left, channel, from + channel, stride);
}

static size_t scratch_bytes(int64_t channels)
{
    return POINTS * (TILES * channels + SKEW) * sizeof(float); /* a multiple of 64 */
}

/* All products of `inputs` channels from number `start` on; `depth` of them have weights. */
static void multiply_block(const Convolution *c, int start, int inputs, int count, const float *in, float *out)
{
    int64_t outputs = c->outputs, in_stride = TILES * inputs + SKEW, out_stride = TILES * outputs + SKEW;
    int64_t depth = c->inputs - start < inputs ? c->inputs - start : inputs;
    const float *weights = c->weights + POINTS * outputs * start;
    for (int point = 0; point < POINTS; point++, in += in_stride, out += out_stride) {
        for (int64_t channel = 0; channel < outputs; channel += COLUMNS) {
            int columns = outputs - channel < COLUMNS ? LANE : COLUMNS;
            multiply_rows(in, inputs, weights, columns, depth, start > 0, out + channel, outputs, count);
            weights += columns * depth;
        }
    }
}

static void block(const Convolution *c, int first, int count, float *in, float *out, Spent *spent)
{
    int channels = c->channels[0] + c->channels[1];
    int64_t out_stride = TILES * c->outputs + SKEW;
    double began = now();
    for (int start = 0; start < channels; start += DEPTH) {
        int inputs = channels - start < DEPTH ? channels - start : DEPTH;
        int64_t in_stride = TILES * inputs + SKEW;
        for (int tile = 0; tile < count; tile++)
            read_tile(c, first + tile, start, inputs, in + tile * inputs, in_stride);
        double read = now();
        multiply_block(c, start, inputs, count, in, out);
        spent->read += read - began;
        began = now();
        spent->multiply += began - read;
    }
    for (int tile = 0; tile < count; tile++)
        write_tile(c, first + tile, out + (int64_t)tile * c->outputs, out_stride);
    spent->write += now() - began;
}
