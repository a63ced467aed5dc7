// The search of align.py in C++: the same steps in the same order on the same doubles, so that both
// give the same path bit for bit. align.py explains it; names here are the names there.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define FOR_EACH_CPU __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_CPU
#endif

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Rows low to high of the next frame; row k is item k + 1 of the arrays of costs.
FOR_EACH_CPU void advance(int64_t low, int64_t high, const double* blank, const double* token,
                          const double* skip, const double* token_costs, double blank_cost,
                          double* new_blank, double* new_token) {
  for (int64_t k = low; k < high; ++k) {
    const double before = token[k];
    const double own = token[k + 1];
    const double gap = blank[k + 1];
    const double skipped = before + skip[k];
    const double stayed = gap < own ? gap : own;
    new_blank[k + 1] = (before < gap ? before : gap) + blank_cost;
    new_token[k + 1] = (skipped < stayed ? skipped : stayed) + token_costs[k - low];
  }
}

FOR_EACH_CPU void choose(int64_t low, int64_t high, const double* blank, const double* token,
                         const double* skip, uint8_t* choices) {
  for (int64_t k = low; k < high; ++k) {
    const double before = token[k];
    const double own = token[k + 1];
    const double gap = blank[k + 1];
    const double skipped = before + skip[k];
    const double stayed = gap < own ? gap : own;
    choices[k - low] =
        static_cast<uint8_t>((skipped < stayed ? 2 : (gap < own ? 1 : 0)) + (before < gap ? 4 : 0));
  }
}

struct Band {
  std::vector<double> blank, token;
  int64_t low = 0, high = 0;
};

class Lattice {
 public:
  Lattice(const float* scores, int64_t num_frames, int64_t width, const int32_t* tokens,
          int64_t num_tokens, int32_t blank)
      : scores_(scores), width_(width), blank_(blank), tokens_(tokens, tokens + num_tokens),
        skip_(num_tokens + 1, 0.0), first_row_(num_frames), costs_(width),
        token_costs_(num_tokens + 1), next_blank_(num_tokens + 3, kInf),
        next_token_(num_tokens + 3, kInf), num_frames_(num_frames), num_rows_(num_tokens + 1) {
    tokens_.push_back(blank);
    skip_[num_tokens] = kInf;
    std::vector<int64_t> need(num_rows_, 0);
    for (int64_t k = num_tokens - 1; k > 0; --k) {
      const bool is_repeat = tokens_[k] == tokens_[k - 1];
      if (is_repeat) skip_[k] = kInf;
      need[k - 1] = need[k] + 1 + is_repeat;
    }
    int64_t row = num_rows_ - 1;
    for (int64_t remaining = 0; remaining < num_frames; ++remaining) {
      while (row > 0 && need[row - 1] <= remaining) --row;
      first_row_[remaining] = row;
    }
  }

  int64_t num_frames() const { return num_frames_; }

  Band empty() const {
    Band band;
    band.blank.assign(num_rows_ + 2, kInf);
    band.token.assign(num_rows_ + 2, kInf);
    return band;
  }

  Band first() {
    Band band = empty();
    find_costs(0);
    band.high = 1;
    band.blank[1] = costs_[blank_];
    band.token[1] = costs_[tokens_[0]];
    return band;
  }

  // Choices, where wanted, are appended; their first row is band.low.
  void step(Band& band, int64_t frame, double limit, double beam, std::vector<uint8_t>* choices) {
    const int64_t low = std::max(band.low, first_row_[num_frames_ - 1 - frame]);
    const int64_t high = std::min(band.high + 1, num_rows_);
    if (low >= high) {
      band.low = band.high = low;
      band.token[low] = band.blank[low] = kInf;
      return;
    }
    find_costs(frame);
    for (int64_t k = low; k < high; ++k) token_costs_[k - low] = costs_[tokens_[k]];
    advance(low, high, band.blank.data(), band.token.data(), skip_.data(), token_costs_.data(),
            costs_[blank_], next_blank_.data(), next_token_.data());
    if (high == num_rows_) next_token_[high] = kInf;

    double most = limit;
    if (beam < kInf) {
      double cheapest = kInf;
      for (int64_t k = low; k < high; ++k)
        cheapest = std::min(cheapest, std::min(next_blank_[k + 1], next_token_[k + 1]));
      most = std::min(limit, cheapest + beam);
    }
    auto is_kept = [&](int64_t k) {
      return std::min(next_blank_[k + 1], next_token_[k + 1]) <= most;
    };
    int64_t first = low, end = high;
    while (end > low && !is_kept(end - 1)) --end;
    while (first < end && !is_kept(first)) ++first;
    if (first == end) first = end = low;

    if (choices != nullptr) {
      const size_t size = choices->size();
      choices->resize(size + (end - first));
      choose(first, end, band.blank.data(), band.token.data(), skip_.data(),
             choices->data() + size);
    }
    std::copy(next_blank_.begin() + first + 1, next_blank_.begin() + end + 1,
              band.blank.begin() + first + 1);
    std::copy(next_token_.begin() + first + 1, next_token_.begin() + end + 1,
              band.token.begin() + first + 1);
    band.low = first;
    band.high = end;
    band.blank[first] = band.token[first] = kInf;
    std::fill(band.blank.begin() + end + 1, band.blank.begin() + high + 1, kInf);
    std::fill(band.token.begin() + end + 1, band.token.begin() + high + 1, kInf);
  }

  double last(const Band& band, int64_t* state) const {
    const double token = band.token[num_rows_ - 1], blank = band.blank[num_rows_];
    *state = 2 * num_rows_ - (blank < token ? 2 : 3);
    return std::min(blank, token);
  }

 private:
  void find_costs(int64_t frame) {
    const float* row = scores_ + frame * width_;
    const double best = *std::max_element(row, row + width_);
    for (int64_t v = 0; v < width_; ++v) costs_[v] = best - static_cast<double>(row[v]);
  }

  const float* scores_;
  int64_t width_;
  int32_t blank_;
  std::vector<int32_t> tokens_;
  std::vector<double> skip_;
  std::vector<int64_t> first_row_;
  std::vector<double> costs_, token_costs_, next_blank_, next_token_;
  int64_t num_frames_, num_rows_;
};

struct Saved {
  std::vector<double> blank, token;
  int64_t low, high;
};

bool search(Lattice& lattice, double beam, double wider, int32_t* states) {
  const int64_t num_frames = lattice.num_frames();
  double limit = kInf;
  int64_t state = 0;
  for (const double margin : {beam, beam * wider, kInf}) {
    Band band = lattice.first();
    for (int64_t frame = 1; frame < num_frames; ++frame)
      lattice.step(band, frame, kInf, margin, nullptr);
    limit = lattice.last(band, &state);
    if (limit < kInf) break;
  }
  if (!(limit < kInf)) return false;

  const auto root = static_cast<int64_t>(std::sqrt(static_cast<double>(num_frames)));
  const int64_t interval = std::max<int64_t>(64, 4 * root);
  std::vector<Saved> marks;
  Band band = lattice.first();
  for (int64_t frame = 0; frame < num_frames; ++frame) {
    if (frame > 0) lattice.step(band, frame, limit, kInf, nullptr);
    if (frame % interval == 0) {
      const auto from = band.low, to = band.high + 2;
      marks.push_back({{band.blank.begin() + from, band.blank.begin() + to},
                       {band.token.begin() + from, band.token.begin() + to}, band.low, band.high});
    }
  }
  lattice.last(band, &state);

  int64_t end = num_frames - 1;
  states[end] = static_cast<int32_t>(state);
  std::vector<uint8_t> choices;
  std::vector<int64_t> lows;
  std::vector<size_t> offsets;
  while (!marks.empty()) {
    const Saved& saved = marks.back();
    const int64_t start = static_cast<int64_t>(marks.size() - 1) * interval;
    std::fill(band.blank.begin(), band.blank.end(), kInf);
    std::fill(band.token.begin(), band.token.end(), kInf);
    std::copy(saved.blank.begin(), saved.blank.end(), band.blank.begin() + saved.low);
    std::copy(saved.token.begin(), saved.token.end(), band.token.begin() + saved.low);
    band.low = saved.low;
    band.high = saved.high;
    choices.clear();
    lows.clear();
    offsets.clear();
    for (int64_t frame = start + 1; frame <= end; ++frame) {
      offsets.push_back(choices.size());
      lattice.step(band, frame, limit, kInf, &choices);
      lows.push_back(band.low);
    }
    for (int64_t frame = end; frame > start; --frame) {
      const size_t index = static_cast<size_t>(frame - start - 1);
      const uint8_t choice = choices[offsets[index] + ((state >> 1) - lows[index])];
      state -= (state & 1) ? (choice & 3) : (choice >> 2);
      states[frame - 1] = static_cast<int32_t>(state);
    }
    end = start;
    marks.pop_back();
  }
  return true;
}

struct Buffer {
  Py_buffer view{};
  bool is_held = false;
  ~Buffer() {
    if (is_held) PyBuffer_Release(&view);
  }
  bool take(PyObject* object, int flags) {
    is_held = PyObject_GetBuffer(object, &view, flags | PyBUF_C_CONTIGUOUS) == 0;
    return is_held;
  }
};

// search(scores (F, V) float32, tokens (L,) int32, states (F,) int32, blank, beam, wider) -> bool
PyObject* py_search(PyObject*, PyObject* args) {
  PyObject *scores_object, *tokens_object, *states_object;
  int blank;
  double beam, wider;
  if (!PyArg_ParseTuple(args, "OOOidd", &scores_object, &tokens_object, &states_object, &blank,
                        &beam, &wider))
    return nullptr;
  Buffer scores, tokens, states;
  if (!scores.take(scores_object, PyBUF_ND) || !tokens.take(tokens_object, PyBUF_ND) ||
      !states.take(states_object, PyBUF_ND | PyBUF_WRITABLE))
    return nullptr;
  if (scores.view.ndim != 2 || tokens.view.ndim != 1 || states.view.ndim != 1 ||
      scores.view.itemsize != 4 || tokens.view.itemsize != 4 || states.view.itemsize != 4 ||
      states.view.shape[0] != scores.view.shape[0] || tokens.view.shape[0] < 1 ||
      scores.view.shape[0] < 1) {
    PyErr_SetString(PyExc_ValueError, "expected (F, V) float32, (L,) int32 and (F,) int32");
    return nullptr;
  }
  const int64_t num_frames = scores.view.shape[0], width = scores.view.shape[1];
  const int64_t num_tokens = tokens.view.shape[0];
  const auto* ids = static_cast<const int32_t*>(tokens.view.buf);
  bool is_in_range = blank >= 0 && blank < width;
  for (int64_t k = 0; k < num_tokens; ++k) is_in_range &= ids[k] >= 0 && ids[k] < width;
  if (!is_in_range) {
    PyErr_SetString(PyExc_ValueError, "a token is out of range");
    return nullptr;
  }
  bool found = false, has_memory = true;
  Py_BEGIN_ALLOW_THREADS;
  try {
    Lattice lattice(static_cast<const float*>(scores.view.buf), num_frames, width, ids, num_tokens,
                    blank);
    found = search(lattice, beam, wider, static_cast<int32_t*>(states.view.buf));
  } catch (const std::bad_alloc&) {
    has_memory = false;
  }
  Py_END_ALLOW_THREADS;
  if (!has_memory) return PyErr_NoMemory();
  return PyBool_FromLong(found);
}

PyMethodDef kMethods[] = {
    {"search", py_search, METH_VARARGS, "The states of the best path; see align.py."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_align_native", nullptr, 0, kMethods,
                       nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__align_native() { return PyModule_Create(&kModule); }
