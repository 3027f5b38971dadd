/* Gillespie's direct method over a binary tree of sums: what sbmlgrad's loop of sparse networks is measured against.

   A reaction changes counts, the propensities that follow them are computed again, and each walks up its path of the
   tree. The network comes from stdin, as large_networks.py writes it; firings, CPU seconds and the mean counts at the
   end go to stdout. Compile with: cc -O3 -march=native sum_tree.c -lm */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t state[2];

static double uniform(void) /* xoroshiro128+ of Blackman and Vigna, in (0, 1] */
{
    uint64_t a = state[0], b = state[1], sum = a + b;
    b ^= a;
    state[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    state[1] = (b << 37) | (b >> 27);
    return ((sum >> 11) + 1) * 0x1p-53;
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        exit(1);
    return memory;
}

static long number(void)
{
    long value;
    if (scanf("%ld", &value) != 1)
        exit(1);
    return value;
}

static double real(void)
{
    double value;
    if (scanf("%lf", &value) != 1)
        exit(1);
    return value;
}

/* so many lists, one after the other: where they begin, and their items */
static int *lists(long count, int **items)
{
    int *starts = room(count + 1, sizeof(int));
    for (long i = 0; i <= count; i++)
        starts[i] = number();
    *items = room(starts[count], sizeof(int));
    for (int i = 0; i < starts[count]; i++)
        (*items)[i] = number();
    return starts;
}

static double *reals(long count)
{
    double *values = room(count, sizeof(double));
    for (long i = 0; i < count; i++)
        values[i] = real();
    return values;
}

int main(void)
{
    long species = number(), reactions = number(), n = number();
    double end = real();
    state[0] = number() * 0x9E3779B97F4A7C15u + 1, state[1] = 0xD1B54A32D192ED03u;
    double *start = reals(species), *constants = reals(reactions);
    int *factor, *jump, *dependent;
    int *factors = lists(reactions, &factor);
    double *offsets = reals(factors[reactions]);
    int *jumps = lists(reactions, &jump);
    double *changes = reals(jumps[reactions]);
    int *dependents = lists(reactions, &dependent);
    long leaves = 1, firings = 0;
    while (leaves < reactions)
        leaves *= 2;
    double *tree = room(2 * leaves, sizeof(double)), *x = room(species, sizeof(double)), *mean = room(species, sizeof(double));
    clock_t begin = clock();
    for (long run = 0; run < n; run++) {
        for (long i = 0; i < species; i++)
            x[i] = start[i];
        for (long j = 0; j < reactions; j++) {
            double value = constants[j];
            for (int f = factors[j]; f < factors[j + 1]; f++)
                value *= x[factor[f]] - offsets[f];
            tree[leaves + j] = value;
        }
        for (long k = leaves - 1; k > 0; k--)
            tree[k] = tree[2 * k] + tree[2 * k + 1];
        double t = 0.0;
        while (tree[1] > 0.0 && (t -= log(uniform()) / tree[1]) < end) {
            double rest = uniform() * tree[1];
            long k = 1;
            while (k < leaves) {
                k *= 2;
                if (rest > tree[k] && tree[k + 1] > 0.0)
                    rest -= tree[k++];
            }
            long fired = k - leaves;
            firings++;
            for (int i = jumps[fired]; i < jumps[fired + 1]; i++)
                x[jump[i]] += changes[i];
            for (int d = dependents[fired]; d < dependents[fired + 1]; d++) {
                long j = dependent[d];
                double value = constants[j];
                for (int f = factors[j]; f < factors[j + 1]; f++)
                    value *= x[factor[f]] - offsets[f];
                k = leaves + j;
                if (tree[k] != value)
                    for (tree[k] = value, k /= 2; k > 0; k /= 2)
                        tree[k] = tree[2 * k] + tree[2 * k + 1];
            }
        }
        for (long i = 0; i < species; i++)
            mean[i] += x[i] / n;
    }
    printf("%ld %.9g\n", firings, (double)(clock() - begin) / CLOCKS_PER_SEC);
    for (long i = 0; i < species; i++)
        printf("%.17g\n", mean[i]);
    return 0;
}
