/* AVX2 and FMA: 16 registers of 8 floats. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")

enum { LANE = 8, ROWS = 6, TILES = 24 };
#include "block.h"

static int supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const Kernels winograd_avx2 = {"avx2", LANE, COLUMNS, DEPTH, TILES, ROWS, supported, scratch_bytes, block};
#endif
