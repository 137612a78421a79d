/* AVX-512: 32 registers of 16 floats. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,fma")

enum { LANE = 16, ROWS = 12, TILES = 24 };
#include "block.h"

static int supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
}

const Kernels winograd_avx512 = {"avx512", LANE, COLUMNS, DEPTH, TILES, ROWS, supported, scratch_bytes, block};
#endif
