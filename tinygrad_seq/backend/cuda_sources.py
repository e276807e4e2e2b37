"""Kernels that no program's operations make: random words, and sums of rows in an order that is always the same."""

from __future__ import annotations

# Arrays as CuPy hands them to a kernel (its include/cupy/carray.cuh): lengths in elements, steps in bytes. So a kernel
# needs no other arguments, each of which would cost the host more than an array does.
ARRAYS = r"""
template <typename T, int N> struct TgArray { T* at; long long size, lengths[N], steps[N]; };
template <typename T, int N> __device__ T tg_at(const TgArray<T, N>& x, long long bytes) {
    return *(T*)((const char*)x.at + bytes);
}
"""

# whether they are handed over like that: one matrix (3, 2) in the order of another, if all that it is told is right
TRANSPOSED = r"""
extern "C" __global__ void tg_transposed(TgArray<const int, 2> x, TgArray<int, 2> y) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x, n = y.lengths[1];
    if (x.size != 6 || y.size != 6 || x.steps[0] != 4 || x.steps[1] != 12 || y.lengths[0] != 3 || n != 2) return;
    if (i < y.size) y.at[i] = tg_at(x, i / n * x.steps[0] + i % n * x.steps[1]) + (int)x.size;
}
"""


def concatenation(count: int, dims: int, axis: int, word: str) -> str:
    """A kernel that puts so many arrays one after another along an axis; `word` is a type of the size of an element."""
    parameters = [f"TgArray<const {word}, {dims}> a{k}" for k in range(count)]
    lines, rest = ["const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;"], "i"
    lines.append("if (i >= y.size) return;")
    for d in range(dims - 1, -1, -1):
        lines.append(f"long long d{d} = {rest} % y.lengths[{d}], r{d} = {rest} / y.lengths[{d}];")
        rest = f"r{d}"
    for k in range(count):
        at = " + ".join([f"d{d} * a{k}.steps[{d}]" for d in range(dims)])
        lines.append(f"if (d{axis} < a{k}.lengths[{axis}]) {{ y.at[i] = tg_at(a{k}, {at}); return; }}")
        lines.append(f"d{axis} -= a{k}.lengths[{axis}];")
    body = "\n    ".join(lines)
    given = ", ".join([*parameters, f"TgArray<{word}, {dims}> y"])
    return f'extern "C" __global__ void tg_concatenate({given}) {{\n    {body}\n}}\n'


# Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011: NumPy's words, from block `offset` on. The second
# kernel finds seed and offset in a table, so that a graph draws afresh at each launch.
PHILOX = r"""
__device__ void tg_block(unsigned long long seed, unsigned long long offset, unsigned long long i,
                         unsigned long long count, unsigned int* out) {
    unsigned long long c0 = offset + i + 1, c1 = c0 < i + 1 ? 1 : 0, c2 = 0, c3 = 0, k0 = seed, k1 = 0;
    for (int round = 0; round < 10; ++round) {
        if (round) { k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL; }
        unsigned long long h0 = __umul64hi(0xD2E7470EE14C6C93ULL, c0), l0 = 0xD2E7470EE14C6C93ULL * c0;
        unsigned long long h1 = __umul64hi(0xCA5A826395121157ULL, c2), l1 = 0xCA5A826395121157ULL * c2;
        c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
    }
    unsigned long long words[4] = {c0, c1, c2, c3};
    for (int k = 0; k < 8; ++k) {
        unsigned long long at = 8 * i + k;
        if (at < count) out[at] = (unsigned int)(words[k / 2] >> (k % 2 ? 32 : 0));
    }
}
extern "C" __global__ void tg_philox(unsigned long long seed, unsigned long long offset, unsigned long long count,
                                     unsigned int* out) {
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (8 * i < count) tg_block(seed, offset, i, count, out);
}
extern "C" __global__ void tg_philox_at(const unsigned long long* table, unsigned long long seed,
                                        unsigned long long offset, unsigned long long count, unsigned int* out) {
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (8 * i < count) tg_block(table[seed], table[offset], i, count, out);
}
"""

# One block sorts rows stably, by one bit after another (an even number of passes, so that the first half of the table
# has the result): each thread has a stretch of places, and learns by a sum over the threads where its bits go.
# out[rows[k]] += values[order[k]] for sorted rows: the first place of each run adds the whole run up, column by column
ADD_ROWS = r"""
extern "C" __launch_bounds__(1024) __global__ void tg_sort_rows(const long long* rows, long long* table,
                                                                long long count, long long bits) {
    __shared__ long long zeros[1024];
    const long long t = threadIdx.x, n = blockDim.x, stretch = (count + n - 1) / n;
    const long long first = t * stretch, last = first + stretch < count ? first + stretch : count;
    for (long long k = first; k < last; ++k) { table[k] = rows[k]; table[count + k] = k; }
    __syncthreads();
    for (long long bit = 0; bit < bits + bits % 2; ++bit) {
        const long long* from = table + bit % 2 * 2 * count;
        long long* to = table + (1 - bit % 2) * 2 * count;
        long long mine = 0;
        for (long long k = first; k < last; ++k) mine += !(from[k] >> bit & 1);
        zeros[t] = mine;
        __syncthreads();
        for (long long reach = 1; reach < n; reach *= 2) {
            const long long before = t >= reach ? zeros[t - reach] : 0;
            __syncthreads();
            zeros[t] += before;
            __syncthreads();
        }
        long long zero = zeros[t] - mine, one = zeros[n - 1] + (first < count ? first : count) - zero;
        __syncthreads();
        for (long long k = first; k < last; ++k) {
            const long long at = from[k] >> bit & 1 ? one++ : zero++;
            to[at] = from[k];
            to[count + at] = from[count + k];
        }
        __syncthreads();
    }
}
template <typename T> __device__ void tg_add(const long long* rows, const long long* order, const T* values, T* out,
                                             long long count, long long width) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    long long k = at / width, column = at % width;
    if (k >= count || (k > 0 && rows[k - 1] == rows[k])) return;
    double total = out[rows[k] * width + column]; // of any number of terms
    for (long long j = k; j < count && rows[j] == rows[k]; ++j) total += values[order[j] * width + column];
    out[rows[k] * width + column] = (T)total;
}
extern "C" __global__ void tg_add_rows_f(const long long* rows, const long long* order, const float* values, float* out,
                                         long long count, long long width) {
    tg_add(rows, order, values, out, count, width);
}
extern "C" __global__ void tg_add_rows_d(const long long* rows, const long long* order, const double* values,
                                         double* out, long long count, long long width) {
    tg_add(rows, order, values, out, count, width);
}
"""
