/* How long a load takes whose address is what the load before it gave, in so many kilobytes: the wait that no order of
   work can hide where one thing leads to the next. Kilobytes are arguments; nanoseconds go to stdout, one a line.
   Compile with: cc -O2 memory_wait.c */

#define _DEFAULT_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define LINE 64 /* bytes of a line of a cache */
#define LARGE_PAGE (2ul << 20)
#define LOADS 1000000

int main(int count, char **sizes)
{
    uint64_t state = 1;
    for (int i = 1; i < count; i++) {
        size_t lines = strtoul(sizes[i], NULL, 10) * 1024 / LINE + 2;
        size_t bytes = (lines * LINE + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        char *memory = aligned_alloc(LARGE_PAGE, bytes);
        uint32_t *order = malloc(lines * sizeof(uint32_t));
        if (!memory || !order)
            return 1;
#ifdef MADV_HUGEPAGE
        madvise(memory, bytes, MADV_HUGEPAGE); /* as numpy asks for large arrays */
#endif
        for (size_t k = 0; k < lines; k++)
            order[k] = k;
        for (size_t k = lines - 1; k > 0; k--) { /* one ring through all lines (S. Sattolo) */
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t other = (state >> 33) % k;
            uint32_t kept = order[k];
            order[k] = order[other], order[other] = kept;
        }
        for (size_t k = 0; k < lines; k++)
            *(uint32_t *)(memory + LINE * k) = order[k];
        uint32_t at = 0;
        for (size_t k = 0; k < lines; k++)
            at = *(uint32_t *)(memory + LINE * (size_t)at);
        clock_t begin = clock();
        for (long k = 0; k < LOADS; k++)
            at = *(volatile uint32_t *)(memory + LINE * (size_t)at);
        printf("%.3f\n", 1e9 * (double)(clock() - begin) / CLOCKS_PER_SEC / LOADS);
        free(order), free(memory);
    }
    return 0;
}
