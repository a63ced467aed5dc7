// The Python side of the native core; _native.pyi says what it offers.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "path.h"
#include "search.h"

namespace py = pybind11;
using asrkit::Core;
using asrkit::Ngram;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

asrkit::Options read_options(const py::object& from) {
  return {from.attr("beam_width").cast<std::int64_t>(),
          from.attr("beam_prune_logp").cast<double>(),
          from.attr("hotwords").cast<std::vector<std::string>>(),
          from.attr("hotword_weight").cast<double>(),
          from.attr("alpha").cast<double>(),
          from.attr("beta").cast<double>(),
          from.attr("unk_score_offset").cast<double>(),
          from.attr("score_boundary").cast<bool>(),
          from.attr("prune_history").cast<bool>(),
          from.attr("lexicon_only").cast<bool>()};
}

// Checks what the search takes on trust.
asrkit::Candidates read_candidates(const Array<std::int64_t>& offsets,
                                   const Array<std::int32_t>& labels,
                                   const Array<double>& log_probs, std::size_t num_labels) {
  if (offsets.ndim() != 1 || labels.ndim() != 1 || log_probs.ndim() != 1 || offsets.size() < 1 ||
      labels.size() != log_probs.size() || offsets.at(0) != 0 ||
      offsets.at(offsets.size() - 1) != labels.size()) {
    throw py::value_error("candidates: arrays that do not fit together");
  }
  for (py::ssize_t i = 1; i < offsets.size(); ++i) {
    if (offsets.at(i) <= offsets.at(i - 1)) {
      throw py::value_error("candidates: a frame without a label");
    }
  }
  for (py::ssize_t i = 0; i < labels.size(); ++i) {
    if (labels.at(i) < 0 || static_cast<std::size_t>(labels.at(i)) >= num_labels) {
      throw py::value_error("candidates: a label out of range");
    }
  }
  return {offsets.data(), labels.data(), log_probs.data(),
          static_cast<std::int64_t>(offsets.size()) - 1};
}

std::vector<asrkit::Placed> find_path(const py::array_t<double>& rows,
                                      const std::vector<asrkit::Node>& nodes, std::int32_t length,
                                      std::int32_t blank) {
  if (rows.ndim() != 2 || blank < 0 || blank >= rows.shape(1)) {
    throw py::value_error("rows: expected two dimensions, and the blank among the columns");
  }
  for (const auto& [label, begin, end] : nodes) {
    if (label < 0 || label >= rows.shape(1) || begin < 0 || begin >= end || end > length) {
      throw py::value_error("nodes: out of range");
    }
  }
  const auto at = rows.unchecked<2>();
  return asrkit::find_path(
      rows.shape(0), [&at](std::int64_t row, std::int32_t label) { return at(row, label); }, nodes,
      length, blank);
}

class PyCore {
 public:
  PyCore(std::vector<std::string> labels, bool is_bpe,
         std::optional<std::vector<std::string>> unigrams, std::shared_ptr<Ngram> ngram,
         bool has_lm)
      : num_labels_(labels.size()),
        core_(std::move(labels), is_bpe, unigrams ? &*unigrams : nullptr, std::move(ngram),
              has_lm) {}

  py::list search(const Array<std::int64_t>& offsets, const Array<std::int32_t>& labels,
                  const Array<double>& log_probs, std::size_t n_best, const py::object& options,
                  const py::object& lookup) const {
    const asrkit::Candidates candidates =
        read_candidates(offsets, labels, log_probs, num_labels_);
    const asrkit::Options read = read_options(options);
    asrkit::Lookup outside{1, {}};
    if (!lookup.is_none()) {
      outside.order = lookup.attr("order").cast<int>();
      outside.ask = [&lookup](const std::vector<std::int32_t>& states,
                              const std::vector<std::string>& words) {
        py::gil_scoped_acquire locked;
        std::vector<asrkit::WordScore> scores;
        for (const auto& item : lookup(states, words)) {
          const auto answer = item.cast<std::tuple<double, bool, std::int32_t>>();
          scores.push_back({std::get<0>(answer), std::get<1>(answer), std::get<2>(answer)});
        }
        if (scores.size() != states.size()) {
          throw py::value_error("a language model that leaves out answers");
        }
        return scores;
      };
    }
    const auto interrupted = [] {
      py::gil_scoped_acquire locked;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    };
    std::vector<asrkit::Found> found;
    {
      py::gil_scoped_release unlocked;
      found = core_.search(candidates, n_best, read, lookup.is_none() ? nullptr : &outside,
                           interrupted);
    }
    py::list texts;
    for (const asrkit::Found& text : found) {
      texts.append(py::make_tuple(text.words, text.frames, text.logit_score, text.lm_score));
    }
    return texts;
  }

 private:
  std::size_t num_labels_;
  Core core_;
};

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "The compiled core of asrkit.ctc.";
  py::register_exception<asrkit::ArpaError>(module, "ArpaError", PyExc_ValueError);

  py::class_<Ngram, std::shared_ptr<Ngram>>(module, "Ngram")
      .def(py::init<const std::string&>())
      .def_property_readonly("order", &Ngram::order)
      .def_property_readonly("unigrams", &Ngram::unigrams)
      .def("__contains__",
           [](const Ngram& self, const std::string& word) { return self.word(word) != 0; })
      .def(
          "start_state",
          [](const Ngram& self, bool boundary) {
            std::vector<std::int32_t> state(self.state_size());
            self.start(boundary, state.data());
            return py::tuple(py::cast(state));
          },
          py::kw_only(), py::arg("boundary"))
      .def("score", [](const Ngram& self, const std::vector<std::int32_t>& state,
                       const std::string& word) {
        if (state.size() != static_cast<std::size_t>(self.state_size())) {
          throw py::value_error("a state of another model");
        }
        std::vector<std::int32_t> next(state.size());
        const double log10 = self.score(state.data(), self.word(word), next.data());
        return py::make_tuple(log10, py::tuple(py::cast(next)));
      });

  py::class_<PyCore>(module, "Core")
      .def_static("find_path", &find_path)
      .def(py::init<std::vector<std::string>, bool, std::optional<std::vector<std::string>>,
                    std::shared_ptr<Ngram>, bool>())
      .def("search", &PyCore::search);
}
