// The Python side of the decoder; _native.pyi says what it offers.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "decoder.h"

namespace py = pybind11;
using namespace asrkit;

namespace {

using Array = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using Weights = std::pair<Array, std::optional<Array>>;

void require(bool is_true, const char* message) {
  if (!is_true) throw py::value_error(message);
}

Matrix read_matrix(const Kernels& kernels, const Weights& weights, std::int64_t depth) {
  const auto& [weight, bias] = weights;
  require(weight.ndim() == 2 && weight.shape(1) == depth, "weight: expected (outputs, depth)");
  require(!bias || (bias->ndim() == 1 && bias->shape(0) == weight.shape(0)),
          "bias: expected (outputs,)");
  return pack(kernels,
              {weight.data(), bias ? bias->data() : nullptr, weight.shape(0), depth, depth, 1});
}

Norm read_norm(const Weights& weights, float eps, std::int64_t width) {
  const auto& [weight, bias] = weights;
  require(weight.ndim() == 1 && weight.shape(0) == width && bias && bias->ndim() == 1 &&
              bias->shape(0) == width,
          "norm: expected weight and bias (width,)");
  return {{weight.data(), weight.data() + width}, {bias->data(), bias->data() + width}, eps};
}

std::shared_ptr<Decoder> make_decoder(const std::vector<std::vector<Weights>>& layers,
                                      const std::optional<Weights>& last_norm,
                                      const std::optional<Array>& head, std::int64_t width,
                                      std::int64_t num_heads, bool norm_first, float eps,
                                      const std::string& instruction_set) {
  const Kernels* kernels = nullptr;
  for (const Kernels* each : supported_kernels()) {
    if (each->name == instruction_set) kernels = each;
  }
  require(kernels, "instruction_set: not one of this processor");
  require(num_heads > 0 && width > 0 && width % num_heads == 0 && !layers.empty(), "sizes");
  auto decoder =
      std::make_shared<Decoder>(Decoder{*kernels, num_heads, width, norm_first, {}, {}, {}});
  for (const auto& weights : layers) {
    require(weights.size() == 9, "layers: expected nine pairs each");
    const auto matrix = [&](std::size_t index, std::int64_t outputs, std::int64_t depth) {
      require(weights[index].first.shape(0) == outputs, "weight: unexpected number of outputs");
      return read_matrix(*kernels, weights[index], depth);
    };
    const std::int64_t inner = layers.front()[6].first.shape(0);
    decoder->layers.push_back({matrix(0, 3 * width, width), matrix(1, width, width),
                               read_norm(weights[2], eps, width), matrix(3, width, width),
                               matrix(4, width, width), read_norm(weights[5], eps, width),
                               matrix(6, inner, width), matrix(7, width, inner),
                               read_norm(weights[8], eps, width)});
  }
  if (last_norm) decoder->last_norm = read_norm(*last_norm, eps, width);
  if (head) decoder->head = read_matrix(*kernels, {*head, std::nullopt}, width);
  return decoder;
}

// Frames: keys and values (items, heads, frames, part) of a layer each.
std::unique_ptr<Texts> start(const std::shared_ptr<Decoder>& decoder,
                             const std::vector<std::pair<Array, Array>>& frames,
                             const std::vector<std::int64_t>& lengths,
                             std::int64_t num_threads) {
  const std::int64_t num_heads = decoder->num_heads, part = decoder->width / num_heads;
  require(frames.size() == decoder->layers.size() && num_threads > 0, "sizes");
  std::vector<Item> items(lengths.size());
  for (const auto& [keys, values] : frames) {
    for (const Array& array : {keys, values}) {
      require(array.ndim() == 4 && array.shape(0) == static_cast<py::ssize_t>(items.size()) &&
                  array.shape(1) == num_heads && array.shape(3) == part,
              "frames: expected (items, heads, frames, part)");
    }
    require(keys.shape(2) == values.shape(2), "frames: keys and values differ");
    for (std::size_t index = 0; index < items.size(); ++index) {
      const std::int64_t length = lengths[index];
      require(0 < length && length <= keys.shape(2), "lengths: out of range");
      items[index].num_frames = length;
      for (std::int64_t head = 0; head < num_heads; ++head) {
        items[index].keys.push_back(
            pack(decoder->kernels, {keys.data(index, head), nullptr, length, part, part, 1}));
        items[index].values.push_back(
            pack(decoder->kernels, {values.data(index, head), nullptr, part, length, 1, part}));
      }
    }
  }
  return std::make_unique<Texts>(decoder, std::move(items), num_threads);
}

Array step(Texts& texts, const Array& x) {
  const Decoder& decoder = texts.decoder();
  require(x.ndim() == 3 && x.shape(0) == texts.num_items() && x.shape(2) == decoder.width &&
              x.shape(1) > 0 && (texts.num_rows() == 0 || x.shape(1) == texts.num_rows()),
          "x: expected (items, rows, width)");
  const std::int64_t num_rows = x.shape(1);
  Array out({texts.num_items(), num_rows, decoder.outputs()});
  const float* from = x.data();
  float* to = out.mutable_data();
  py::gil_scoped_release release;
  texts.step(from, num_rows, to);
  return out;
}

void reorder(Texts& texts, const Indices& parents) {
  require(parents.ndim() == 2 && parents.shape(0) == texts.num_items() &&
              parents.shape(1) == texts.num_rows(),
          "parents: expected (items, rows)");
  for (py::ssize_t i = 0; i < parents.size(); ++i) {
    const std::int64_t parent = parents.data()[i];
    require(0 <= parent && parent < texts.num_rows(), "parents: out of range");
  }
  texts.reorder(parents.data());
}

void select_items(Texts& texts, const std::vector<std::int64_t>& kept) {
  std::int64_t before = -1;
  for (const std::int64_t item : kept) {
    require(before < item && item < texts.num_items(), "items: expected ascending indices");
    before = item;
  }
  texts.select_items(kept);
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const Kernels* kernels : supported_kernels()) names.emplace_back(kernels->name);
    return names;
  });
  py::class_<Decoder, std::shared_ptr<Decoder>>(module, "Decoder")
      .def(py::init(&make_decoder), py::kw_only(), py::arg("layers"), py::arg("last_norm"),
           py::arg("head"), py::arg("width"), py::arg("num_heads"), py::arg("norm_first"),
           py::arg("eps"), py::arg("instruction_set"))
      .def("start", &start, py::arg("frames"), py::arg("lengths"), py::kw_only(),
           py::arg("num_threads"));
  py::class_<Texts>(module, "Texts")
      .def("step", &step, py::arg("x"))
      .def("reorder", &reorder, py::arg("parents"))
      .def("select_items", &select_items, py::arg("items"));
}
