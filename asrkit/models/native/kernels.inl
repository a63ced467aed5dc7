// Kernels of one instruction set. Included for each, with these defined, which end with it:
//   ISA      its name, a namespace
//   TARGET   the attribute that lets functions use it
//   LANES    floats in a register
//   VECTORS  registers across a panel; ROWS * VECTORS sums fit into registers, and little else
//   ROWS     rows that are multiplied at once

namespace asrkit {
namespace ISA {

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef std::int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

constexpr std::int64_t kColumns = LANES * VECTORS;
constexpr std::int64_t kAhead = 256;  // floats of a panel that are on their way from memory

TARGET inline Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }

TARGET inline void store(float* to, Vector x) { *reinterpret_cast<Unaligned*>(to) = x; }

TARGET inline Vector spread(float x) { return x - Vector{}; }

TARGET inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }

TARGET inline float sum_of(Vector x) {
  float lanes[LANES];
  store(lanes, x);
  for (int half = LANES / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// One panel and M rows.
template <int M>
TARGET void multiply_tile(const Matrix& matrix, Rows x, const Output& out, std::int64_t panel) {
  Vector sums[M][VECTORS] = {};
  const float* column = matrix.panels.get() + panel * matrix.depth * kColumns;
  for (std::int64_t k = 0; k < matrix.depth; ++k, column += kColumns) {
    for (int line = 0; line < kColumns; line += 16) __builtin_prefetch(column + kAhead + line);
    for (int m = 0; m < M; ++m) {
      const Vector factor = spread(x.data[m * x.stride + k]);
      for (int v = 0; v < VECTORS; ++v) sums[m][v] += factor * load(column + v * LANES);
    }
  }
  const std::int64_t begin = panel * kColumns;
  const std::int64_t size = std::min(kColumns, matrix.outputs - begin);
  for (int m = 0; m < M; ++m) {
    float* to = out.data + m * out.stride + begin;
    const float* added = out.added ? out.added + m * out.stride + begin : nullptr;
    float edge[kColumns] = {};
    if (added && size < kColumns) added = std::copy(added, added + size, edge) - size;
    for (int v = 0; v < VECTORS; ++v) {
      Vector sum = sums[m][v];
      if (!matrix.bias.empty()) sum += load(matrix.bias.data() + begin + v * LANES);
      if (added) sum += load(added + v * LANES);
      if (out.relu) sum = larger(sum, Vector{});
      store((size < kColumns ? edge : to) + v * LANES, sum);
    }
    if (size < kColumns) std::copy(edge, edge + size, to);
  }
}

template <int M>
TARGET void multiply_rows(std::int64_t num_rows, const Matrix& matrix, Rows x, const Output& out,
                          std::int64_t panel) {
  if (num_rows == M) {
    multiply_tile<M>(matrix, x, out, panel);
  } else if constexpr (M > 1) {
    multiply_rows<M - 1>(num_rows, matrix, x, out, panel);
  }
}

TARGET void multiply(const Matrix& matrix, Rows x, std::int64_t num_rows, const Output& out,
                     std::int64_t first_panel, std::int64_t last_panel) {
  const std::int64_t num_tiles = (num_rows + ROWS - 1) / ROWS;
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    for (std::int64_t tile = 0; tile < num_tiles; ++tile) {  // as even as can be
      const std::int64_t begin = num_rows * tile / num_tiles;
      const std::int64_t end = num_rows * (tile + 1) / num_tiles;
      const float* added = out.added ? out.added + begin * out.stride : nullptr;
      multiply_rows<ROWS>(end - begin, matrix, {x.data + begin * x.stride, x.stride},
                          {out.data + begin * out.stride, out.stride, added, out.relu}, panel);
    }
  }
}

TARGET void norm(const float* x, const Norm& norm, float* out) {
  const std::int64_t width = static_cast<std::int64_t>(norm.weight.size());
  const std::int64_t whole = width / LANES * LANES;
  Vector sums = {};
  for (std::int64_t i = 0; i < whole; i += LANES) sums += load(x + i);
  float sum = sum_of(sums);
  for (std::int64_t i = whole; i < width; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(width);
  Vector squares = {};
  for (std::int64_t i = 0; i < whole; i += LANES) {
    const Vector centred = load(x + i) - mean;
    squares += centred * centred;
  }
  float square = sum_of(squares);
  for (std::int64_t i = whole; i < width; ++i) square += (x[i] - mean) * (x[i] - mean);
  const float scale = 1 / std::sqrt(square / static_cast<float>(width) + norm.eps);
  const float *weight = norm.weight.data(), *bias = norm.bias.data();
  for (std::int64_t i = 0; i < whole; i += LANES) {
    store(out + i, (load(x + i) - mean) * scale * load(weight + i) + load(bias + i));
  }
  for (std::int64_t i = whole; i < width; ++i) out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

// e^x for x <= 0, to two units in the last place: 2^n e^r with |r| <= ln 2 / 2, and for e^r the
// polynomial of Cephes (expf.c).
TARGET inline Vector exp_of(Vector x) {
  constexpr float kShift = 12582912;  // 1.5 * 2^23: what is added to it is rounded to an integer
  x = larger(x, spread(-87));
  const Vector shifted = x * 1.44269504f + kShift;
  const Vector n = shifted - kShift;
  const Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return reinterpret_cast<Vector>(reinterpret_cast<Integers>(p) +
                                  (reinterpret_cast<Integers>(shifted) << 23));
}

// Up to LANES floats; what is missing is -inf, of which nothing is the largest and e^x nearly 0.
TARGET inline Vector load_some(const float* from, std::int64_t count) {
  if (count >= LANES) return load(from);
  float block[LANES];
  std::fill(std::copy(from, from + count, block), block + LANES, -INFINITY);
  return load(block);
}

TARGET inline void store_some(float* to, Vector x, std::int64_t count) {
  if (count >= LANES) return store(to, x);
  float block[LANES];
  store(block, x);
  std::copy(block, block + count, to);
}

TARGET inline float largest_of(const float* x, std::int64_t size) {
  Vector largest = spread(-INFINITY);
  for (std::int64_t i = 0; i < size; i += LANES) {
    largest = larger(largest, load_some(x + i, size - i));
  }
  float lanes[LANES];
  store(lanes, largest);
  return *std::max_element(lanes, lanes + LANES);
}

TARGET void softmax(float* scores, std::int64_t size, float scale) {
  const float largest = largest_of(scores, size);
  Vector sums = {};
  for (std::int64_t i = 0; i < size; i += LANES) {
    const Vector values = exp_of((load_some(scores + i, size - i) - largest) * scale);
    sums += values;
    store_some(scores + i, values, size - i);
  }
  const float factor = 1 / sum_of(sums);
  for (std::int64_t i = 0; i < size; ++i) scores[i] *= factor;
}

TARGET void log_softmax(float* logits, std::int64_t size) {
  const float largest = largest_of(logits, size);
  Vector sums = {};
  for (std::int64_t i = 0; i < size; i += LANES) {
    sums += exp_of(load_some(logits + i, size - i) - largest);
  }
  const float rest = std::log(sum_of(sums));
  for (std::int64_t i = 0; i < size; ++i) logits[i] = logits[i] - largest - rest;
}

TARGET inline float dot(const float* a, const float* b, std::int64_t size) {
  const std::int64_t whole = size / LANES * LANES;
  Vector sums = {};
  for (std::int64_t i = 0; i < whole; i += LANES) sums += load(a + i) * load(b + i);
  float sum = sum_of(sums);
  for (std::int64_t i = whole; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

TARGET void attend(const float* query, const float* slots, const std::vector<std::int32_t>& path,
                   std::int64_t num_heads, std::int64_t width, float* scores, float* out) {
  const std::int64_t size = static_cast<std::int64_t>(path.size()), part = width / num_heads;
  const float scale = 1 / std::sqrt(static_cast<float>(part));
  for (std::int64_t i = 0; i < size; ++i) {
    const float* key = slots + path[i] * 2 * width;
    for (std::int64_t head = 0; head < num_heads; ++head) {
      scores[head * size + i] = dot(query + head * part, key + head * part, part);
    }
  }
  for (std::int64_t head = 0; head < num_heads; ++head) softmax(scores + head * size, size, scale);
  std::fill(out, out + width, 0.0f);
  for (std::int64_t i = 0; i < size; ++i) {
    const float* value = slots + path[i] * 2 * width + width;
    for (std::int64_t head = 0; head < num_heads; ++head) {
      const float weight = scores[head * size + i];
      for (std::int64_t k = head * part; k < (head + 1) * part; ++k) out[k] += weight * value[k];
    }
  }
}

#define ASRKIT_NAME_OF(name) #name
#define ASRKIT_NAME(name) ASRKIT_NAME_OF(name)
const Kernels kernels = {ASRKIT_NAME(ISA), kColumns, multiply, norm, softmax, log_softmax, attend};

}  // namespace ISA
}  // namespace asrkit

#undef ISA
#undef TARGET
#undef LANES
#undef VECTORS
#undef ROWS
