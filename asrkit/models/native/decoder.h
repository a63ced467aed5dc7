// The text decoder of asrkit/models/decoder.py, token by token on a CPU, in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels.h"
#include "team.h"

namespace asrkit {

// A weight (outputs, depth), the distances from one number to the next along each, and its bias
// (outputs,), or null.
struct Linear {
  const float* weight;
  const float* bias;
  std::int64_t outputs, depth;
  std::int64_t output_stride, depth_stride;
};

Matrix pack(const Kernels& kernels, const Linear& linear);

// As LayerWeights in decoder.py; a relu follows `expand`.
struct Layer {
  Matrix queries_keys_values;
  Matrix self_out;
  Norm self_norm;
  Matrix query;
  Matrix encoder_out;
  Norm encoder_norm;
  Matrix expand;
  Matrix contract;
  Norm final_norm;
};

struct Decoder {
  const Kernels& kernels;
  std::int64_t num_heads;
  std::int64_t width;
  bool norm_first;
  std::vector<Layer> layers;
  std::optional<Norm> last_norm;
  std::optional<Matrix> head;

  std::int64_t outputs() const { return head ? head->outputs : width; }
};

// An utterance that texts are written about, and the texts.
struct Item {
  std::int64_t num_frames = 0;
  std::vector<Matrix> keys;    // of the frames: a layer and head each, (frames, part)
  std::vector<Matrix> values;  // (part, frames)
  // Keys, then values, of the tokens; (capacity, 2 * width), a layer each. The texts share those
  // of what they have in common: a path lists the slots of a text's tokens.
  std::vector<std::vector<float>> slots;
  std::vector<std::vector<std::int32_t>> paths;
  std::int64_t num_slots = 0;

  // A new slot for each path.
  void grow(std::int64_t width);

 private:
  void compact(std::int64_t width);
};

class Texts {
 public:
  Texts(std::shared_ptr<const Decoder> decoder, std::vector<Item> items, std::int64_t num_threads);

  // Append a token to every text: x (items, rows, width) to out (items, rows, outputs). The first
  // step says how many texts of an item there are.
  void step(const float* x, std::int64_t num_rows, float* out);
  // Let each text go on from another one of its item: parents (items, rows).
  void reorder(const std::int64_t* parents);
  // Keep these items, in ascending order.
  void select_items(const std::vector<std::int64_t>& kept);

  std::int64_t num_items() const { return static_cast<std::int64_t>(items_.size()); }
  std::int64_t num_rows() const { return num_rows_; }
  const Decoder& decoder() const { return *decoder_; }

 private:
  void work(std::int64_t member, float* out);
  void multiply(std::int64_t member, const Matrix& matrix, const float* x, float* out,
                const float* added = nullptr, bool relu = false);
  void look_back(std::int64_t member, std::size_t layer);
  void listen(std::int64_t member, std::size_t layer);

  std::shared_ptr<const Decoder> decoder_;
  std::vector<Item> items_;
  std::int64_t num_rows_ = 0;
  std::vector<float> x_, normed_, projected_, attended_, expanded_;
  std::vector<std::vector<float>> scores_;  // a member each
  Team team_;
};

}  // namespace asrkit
