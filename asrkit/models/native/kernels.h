// The arithmetic of a step, compiled once for each instruction set.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace asrkit {

// Floats that begin where a cache line does.
class Floats {
 public:
  Floats() = default;
  explicit Floats(std::int64_t size)
      : data_(static_cast<float*>(::operator new(sizeof(float) * static_cast<std::size_t>(size),
                                                 std::align_val_t{64}))) {}
  float* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* data) const { ::operator delete(data, std::align_val_t{64}); }
  };
  std::unique_ptr<float, Free> data_;
};

// A matrix (outputs, depth) in panels of so many outputs, (panels, depth, columns), as products
// read it; the last panel is filled up with zeros.
struct Matrix {
  std::int64_t outputs = 0;
  std::int64_t depth = 0;
  std::int64_t columns = 0;
  Floats panels;
  std::vector<float> bias;  // of all columns of all panels; empty if there is none

  std::int64_t num_panels() const { return (outputs + columns - 1) / columns; }
};

// Rows of floats, `stride` apart.
struct Rows {
  const float* data;
  std::int64_t stride;
};

// Where the rows of a product go: the product, then the bias, then `added` (stride as of `data`,
// which it may be), then what is below zero becomes zero.
struct Output {
  float* data;
  std::int64_t stride;
  const float* added = nullptr;
  bool relu = false;
};

struct Norm {
  std::vector<float> weight;
  std::vector<float> bias;
  float eps = 0;
};

struct Kernels {
  const char* name;      // of the instruction set
  std::int64_t columns;  // of a panel

  // Rows (num_rows, depth) times the outputs of some panels. Every number is a sum over the depth
  // in its order, whatever the number of rows.
  void (*multiply)(const Matrix& matrix, Rows x, std::int64_t num_rows, const Output& out,
                   std::int64_t first_panel, std::int64_t last_panel);
  // Layer norm of one row.
  void (*norm)(const float* x, const Norm& norm, float* out);
  // Of so many scores times `scale`, in place.
  void (*softmax)(float* scores, std::int64_t size, float scale);
  // Of one row, in place.
  void (*log_softmax)(float* logits, std::int64_t size);
  // One row's attention to slots (keys, then values), head by head: query and out (width,).
  void (*attend)(const float* query, const float* slots, const std::vector<std::int32_t>& path,
                 std::int64_t num_heads, std::int64_t width, float* scores, float* out);
};

// Those that this processor can run, the fastest first.
std::vector<const Kernels*> supported_kernels();

}  // namespace asrkit
