/* 3x3 convolutions with padding 1, stride 1, by Winograd's F(6x6, 3x3): 64 multiplications for 36 outputs, not 324.
 *
 * A picture is (height, width, channels) float, channels innermost. Each thread takes a block of tiles through all
 * three stages (transform, 64 small matrix products, back) while it lies in the core's own cache; a library that
 * transforms whole pictures at once waits for memory instead. What follows a convolution (slope, residuals) is done
 * before its result leaves the registers, and a convolution reads two sources, so that nothing is ever concatenated.
 *
 * `winograd.c` shares the blocks among threads, `block.h` is what is done to one. That file is compiled once for each
 * instruction set (`avx512.c`, `avx2.c`, `neon.c`). All give the same bits: every sum is added up in the same
 * order, and each product has one sum only that it can be fused with.
 */
#ifndef WINOGRAD_H
#define WINOGRAD_H

#include <stddef.h>
#include <stdint.h>

/* A source, target or residual: `step` floats from pixel to pixel. */
typedef struct {
    float *data;
    int64_t step;
} Plane;

/* out = second.k * (first.k * act(conv(source)) + first) + second; a residual without data is left out.
 * `channels` of the two sources and `outputs` are whole vectors; of the channels, the first `inputs` have weights.
 * `weights`: already transformed, for each `depth` inputs [POINTS][outputs / columns][inputs][columns]; the last
 * columns may be half as many. `slope`: what a negative sum is multiplied with, per output. `shift`: the source is
 * enlarged 2^shift times, each pixel repeated. */
typedef struct {
    Plane source[2];
    int32_t channels[2], inputs, outputs, shift;
    const float *weights, *bias, *slope;
    Plane first, second;
    float first_factor, second_factor;
    Plane target;
    int32_t height, width;
} Convolution;

/* Where the time went, in seconds of all threads together. */
typedef struct {
    double read, multiply, write, wait;
} Spent;

double now(void);

/* The code for one instruction set. `lane`: floats in a vector; `columns`: outputs whose weights lie side by side;
 * `depth`: the most inputs that are transformed at a time; `tiles`: the most that are in work at a time, `rows`: those
 * in one step of a product. */
typedef struct {
    const char *name;
    int32_t lane, columns, depth, tiles, rows;
    int (*supported)(void);
    /* Bytes of the cache that `channels` of all tiles in work take. */
    size_t (*scratch_bytes)(int64_t channels);
    /* `count` tiles from `first` on. `in` and `out`: the scratch of this thread. */
    void (*block)(const Convolution *c, int first, int count, float *in, float *out, Spent *spent);
} Kernels;

enum {
    IN = 8,          /* side of a tile's input */
    OUT = 6,         /* side of a tile's output */
    POINTS = IN * IN /* matrix products per block */
};

#endif
