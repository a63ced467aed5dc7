#include "decoder.h"

#include <algorithm>
#include <cmath>

namespace asrkit {

Matrix pack(const Kernels& kernels, const Linear& linear) {
  Matrix matrix{linear.outputs, linear.depth, kernels.columns, {}, {}};
  const std::int64_t columns = kernels.columns, num_panels = matrix.num_panels();
  matrix.panels = Floats(num_panels * linear.depth * columns);
  float* to = matrix.panels.get();
  for (std::int64_t panel = 0; panel < num_panels; ++panel) {
    for (std::int64_t k = 0; k < linear.depth; ++k) {
      for (std::int64_t row = panel * columns; row < (panel + 1) * columns; ++row) {
        const float* from = linear.weight + row * linear.output_stride + k * linear.depth_stride;
        *to++ = row < linear.outputs ? *from : 0;
      }
    }
  }
  if (linear.bias) {
    matrix.bias.assign(linear.bias, linear.bias + linear.outputs);
    matrix.bias.resize(static_cast<std::size_t>(num_panels * columns));
  }
  return matrix;
}

void Item::grow(std::int64_t width) {
  const std::int64_t num_rows = static_cast<std::int64_t>(paths.size());
  const std::int64_t size = 2 * width;
  if ((num_slots + num_rows) * size > static_cast<std::int64_t>(slots.front().size())) {
    compact(width);
    // Twice what is alive, so that looking it through costs little a token.
    const std::int64_t capacity = 2 * num_slots + 16 * num_rows;
    for (auto& layer : slots) layer.resize(static_cast<std::size_t>(capacity * size));
  }
  for (auto& path : paths) path.push_back(static_cast<std::int32_t>(num_slots++));
}

// Throws away the slots of no path.
void Item::compact(std::int64_t width) {
  std::vector<std::int32_t> moved(static_cast<std::size_t>(num_slots), -1);
  for (const auto& path : paths) {
    for (const std::int32_t slot : path) moved[slot] = 0;
  }
  num_slots = 0;
  for (std::size_t slot = 0; slot < moved.size(); ++slot) {
    if (moved[slot] < 0) continue;
    moved[slot] = static_cast<std::int32_t>(num_slots++);
    for (auto& layer : slots) {
      const auto from = layer.begin() + static_cast<std::int64_t>(slot) * 2 * width;
      std::copy(from, from + 2 * width, layer.begin() + moved[slot] * 2 * width);
    }
  }
  for (auto& path : paths) {
    for (std::int32_t& slot : path) slot = moved[slot];
  }
}

Texts::Texts(std::shared_ptr<const Decoder> decoder, std::vector<Item> items,
             std::int64_t num_threads)
    : decoder_(std::move(decoder)),
      items_(std::move(items)),
      scores_(static_cast<std::size_t>(num_threads)),
      team_(num_threads) {
  for (Item& item : items_) item.slots.resize(decoder_->layers.size());
}

void Texts::reorder(const std::int64_t* parents) {
  for (Item& item : items_) {
    std::vector<std::vector<std::int32_t>> paths;
    for (std::int64_t row = 0; row < num_rows_; ++row) paths.push_back(item.paths[*parents++]);
    item.paths = std::move(paths);
  }
}

void Texts::select_items(const std::vector<std::int64_t>& kept) {
  std::vector<Item> items;
  for (const std::int64_t index : kept) items.push_back(std::move(items_[index]));
  items_ = std::move(items);
}

void Texts::step(const float* x, std::int64_t num_rows, float* out) {
  num_rows_ = num_rows;
  const std::int64_t width = decoder_->width, num_texts = num_items() * num_rows;
  const auto room = [num_texts](std::vector<float>& buffer, std::int64_t size) {
    buffer.resize(static_cast<std::size_t>(num_texts * size));
  };
  x_.assign(x, x + num_texts * width);
  room(normed_, width);
  room(attended_, width);
  room(projected_, 3 * width);
  room(expanded_, decoder_->layers.front().expand.outputs);
  std::int64_t num_scores = 0;
  for (Item& item : items_) {
    item.paths.resize(static_cast<std::size_t>(num_rows));
    item.grow(width);
    const auto length = static_cast<std::int64_t>(item.paths.front().size());
    num_scores =
        std::max({num_scores, length * decoder_->num_heads, item.num_frames * num_rows});
  }
  for (auto& scores : scores_) scores.resize(static_cast<std::size_t>(num_scores));
  team_.run([this, out](std::int64_t member) { work(member, out); });
}

void Texts::work(std::int64_t member, float* out) {
  const Decoder& decoder = *decoder_;
  const auto [first, last] = team_.share(member, num_items() * num_rows_);
  const auto normalise = [&, first = first, last = last](const Norm& norm, float* out) {
    for (std::int64_t at = first * decoder.width; at < last * decoder.width; at += decoder.width) {
      decoder.kernels.norm(x_.data() + at, norm, out + at);
    }
    team_.meet();
  };
  // Norms stand before what a part reads, or after the sum with what it gives.
  const auto begin = [&](const Norm& norm) {
    if (decoder.norm_first) normalise(norm, normed_.data());
  };
  const auto end = [&](const Norm& norm) {
    if (!decoder.norm_first) normalise(norm, x_.data());
  };
  const float* in = decoder.norm_first ? normed_.data() : x_.data();
  float* x = x_.data();
  for (std::size_t index = 0; index < decoder.layers.size(); ++index) {
    const Layer& layer = decoder.layers[index];
    begin(layer.self_norm);
    multiply(member, layer.queries_keys_values, in, projected_.data());
    look_back(member, index);
    multiply(member, layer.self_out, attended_.data(), x, x);
    end(layer.self_norm);
    begin(layer.encoder_norm);
    multiply(member, layer.query, in, projected_.data());
    listen(member, index);
    multiply(member, layer.encoder_out, attended_.data(), x, x);
    end(layer.encoder_norm);
    begin(layer.final_norm);
    multiply(member, layer.expand, in, expanded_.data(), nullptr, true);
    multiply(member, layer.contract, expanded_.data(), x, x);
    end(layer.final_norm);
  }
  if (decoder.last_norm) normalise(*decoder.last_norm, normed_.data());
  const float* states = decoder.last_norm ? normed_.data() : x;
  if (decoder.head) {
    multiply(member, *decoder.head, states, out);
    for (std::int64_t row = first; row < last; ++row) {
      decoder.kernels.log_softmax(out + row * decoder.outputs(), decoder.outputs());
    }
  } else {
    std::copy(states + first * decoder.width, states + last * decoder.width,
              out + first * decoder.width);
  }
}

void Texts::multiply(std::int64_t member, const Matrix& matrix, const float* x, float* out,
                     const float* added, bool relu) {
  const auto [first, last] = team_.share(member, matrix.num_panels());
  decoder_->kernels.multiply(matrix, {x, matrix.depth}, num_items() * num_rows_,
                             {out, matrix.outputs, added, relu}, first, last);
  team_.meet();
}

void Texts::look_back(std::int64_t member, std::size_t layer) {
  const std::int64_t width = decoder_->width;
  const auto [first, last] = team_.share(member, num_items() * num_rows_);
  for (std::int64_t row = first; row < last; ++row) {
    Item& item = items_[row / num_rows_];
    const auto& path = item.paths[row % num_rows_];
    float* slots = item.slots[layer].data();
    const float* query = projected_.data() + row * 3 * width;
    std::copy(query + width, query + 3 * width, slots + path.back() * 2 * width);
    decoder_->kernels.attend(query, slots, path, decoder_->num_heads, width,
                             scores_[member].data(), attended_.data() + row * width);
  }
  team_.meet();
}

void Texts::listen(std::int64_t member, std::size_t layer) {
  const Kernels& kernels = decoder_->kernels;
  const std::int64_t width = decoder_->width, num_heads = decoder_->num_heads;
  const std::int64_t part = width / num_heads;
  const float scale = 1 / std::sqrt(static_cast<float>(part));
  const auto [first, last] = team_.share(member, num_items() * num_heads);
  float* scores = scores_[member].data();
  for (std::int64_t task = first; task < last; ++task) {
    const Item& item = items_[task / num_heads];
    const std::int64_t head = task % num_heads;
    const std::int64_t at = task / num_heads * num_rows_ * width + head * part;
    const Matrix& keys = item.keys[layer * num_heads + head];
    const Matrix& values = item.values[layer * num_heads + head];
    kernels.multiply(keys, {projected_.data() + at, width}, num_rows_, {scores, item.num_frames},
                     0, keys.num_panels());
    for (std::int64_t row = 0; row < num_rows_; ++row) {
      kernels.softmax(scores + row * item.num_frames, item.num_frames, scale);
    }
    kernels.multiply(values, {scores, item.num_frames}, num_rows_, {attended_.data() + at, width},
                     0, values.num_panels());
  }
  team_.meet();
}

}  // namespace asrkit
