/* NEON, which every 64-bit ARM has: the compiler makes two of its vectors of 4 floats from one of 8. */
#if !defined(__x86_64__)
enum { LANE = 8, ROWS = 6, TILES = 24 };
#include "block.h"

static int supported(void)
{
    return 1;
}

const Kernels winograd_neon = {"neon", LANE, COLUMNS, DEPTH, TILES, ROWS, supported, scratch_bytes, block};
#endif
