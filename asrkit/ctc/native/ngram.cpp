#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ngram.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

namespace asrkit {

namespace {

constexpr int kMaxOrder = 6;
constexpr float kMissingUnknown = -100.0f;
constexpr std::size_t kMaxShown = 60;

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r\n\v\f") == std::string::npos;
}

bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    const int extra = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : (lead & 0xf0) == 0xe0 ? 2
                      : lead >= 0xf0 && lead < 0xf5                 ? 3
                                                                    : -1;
    if (extra < 0 || i + extra >= text.size() + (extra == 0)) return false;
    std::uint32_t code = extra == 0 ? lead : lead & (0x3f >> extra);
    for (int k = 1; k <= extra; ++k) {
      const unsigned char follow = static_cast<unsigned char>(text[i + k]);
      if ((follow & 0xc0) != 0x80) return false;
      code = (code << 6) | (follow & 0x3f);
    }
    if ((extra == 2 && code < 0x800) || (extra == 3 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    i += 1 + extra;
  }
  return true;
}

// [+-] digits [. digits] [e [+-] digits], or -inf; as NUMBER in arpa.py.
bool is_number(const std::string& text) {
  if (text == "-inf") return true;
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t first = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - first;
  };
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  std::size_t mantissa = digits();
  if (i < text.size() && text[i] == '.') {
    ++i;
    mantissa += digits();
  }
  if (mantissa == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

}  // namespace

// Lines of the file, counted for messages.
class Ngram::Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    if (!file_) throw ArpaError(path + ": cannot be read");
  }

  const std::string& next() {
    if (!read()) {
      throw ArpaError(path_ + ": ends after line " + std::to_string(number_) +
                      ", expected \\end\\");
    }
    return line_;
  }

  bool read() {
    if (!std::getline(file_, line_)) return false;
    ++number_;
    while (!line_.empty() && line_.back() == '\r') line_.pop_back();
    if (!is_utf8(line_)) throw ArpaError(path_ + ": not UTF-8 text, expected an ARPA file");
    return true;
  }

  const std::string& line() const { return line_; }

  void expect(const std::string& header) {
    while (is_blank(next())) {
    }
    if (line_ != header) fail(line_, header);
  }

  float number(const std::string& text) {
    if (!is_number(text)) fail(line_, "a number, a tab and an n-gram");
    const double value = PyOS_string_to_double(text.c_str(), nullptr, nullptr);
    PyErr_Clear();
    return static_cast<float>(value);
  }

  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    std::string shown;
    for (char c : found.substr(0, kMaxShown)) shown += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    while (!is_utf8(shown)) shown.pop_back();
    if (found.size() > kMaxShown) shown += "...";
    throw ArpaError(path_ + ": line " + std::to_string(number_) + ": '" + shown + "', expected " +
                    expected);
  }

 private:
  std::string path_;
  std::ifstream file_;
  std::string line_;
  long long number_ = 0;
};

Ngram::Ngram(const std::string& path) {
  Reader reader(path);
  while (is_blank(reader.next()) || reader.line()[0] == '#') {
  }
  if (reader.line() != "\\data\\") reader.fail(reader.line(), "\\data\\");
  std::vector<long long> counts;
  while (!is_blank(reader.next())) {
    const std::string& line = reader.line();
    const std::string name = "ngram " + std::to_string(counts.size() + 1) + "=";
    const std::size_t first = line.find_first_not_of(" \t", name.size());
    const std::size_t last = line.find_last_not_of(" \t");
    const bool has_name = line.compare(0, name.size(), name) == 0 && first != std::string::npos;
    const std::string count = has_name ? line.substr(first, last + 1 - first) : "";
    if (count.empty() || count.size() >= 12 ||
        count.find_first_not_of("0123456789") != std::string::npos) {
      reader.fail(line, name + "<count>");
    }
    counts.push_back(std::stoll(count));
  }
  if (counts.empty() || counts.size() > kMaxOrder) {
    reader.fail(std::to_string(counts.size()) + " orders", "1 to " + std::to_string(kMaxOrder));
  }
  order_ = static_cast<int>(counts.size());

  add_node();  // <unk>
  probabilities_[0] = kMissingUnknown;
  bool has_unknown = false;
  std::vector<std::string> all;
  float most_backoff = 0.0f;
  for (int n = 1; n <= order_; ++n) {
    reader.expect("\\" + std::to_string(n) + "-grams:");
    for (long long i = 0; i < counts[n - 1]; ++i) {
      const std::string& line = reader.next();
      const std::size_t first_tab = std::min(line.find('\t'), line.size());
      const std::size_t words = std::min(first_tab + 1, line.size());
      const std::size_t second_tab = std::min(line.find('\t', words), line.size());
      const float value = reader.number(line.substr(0, first_tab));
      if (value > 0) reader.fail(line, "a log10 probability of at most 0");

      std::vector<std::string> tokens;
      for (std::size_t at = words; at < second_tab || (at == second_tab && at > words);) {
        const std::size_t end = std::min(line.find_first_of(" \r", at), second_tab);
        tokens.push_back(line.substr(at, end - at));
        at = end + 1;
        if (end == second_tab) break;
      }
      if (static_cast<int>(tokens.size()) != n) {
        reader.fail(line, "probability, tab, " + std::to_string(n) + " word(s), tab, back-off");
      }
      for (std::string& word : tokens) {
        if (word == "<UNK>") word = "<unk>";
      }
      const std::string backoff = line.substr(std::min(second_tab + 1, line.size()));
      std::int32_t node;
      if (n == 1) {
        const std::string& word = tokens[0];
        if (word == "<unk>") {
          if (has_unknown) reader.fail(line, "an n-gram that no line above has");
          has_unknown = true;
          node = 0;
        } else {
          node = static_cast<std::int32_t>(probabilities_.size());
          if (!words_.emplace(word, node).second) {
            reader.fail(line, "an n-gram that no line above has");
          }
          add_node();
        }
        all.push_back(word);
        if (!backoff.empty()) unigrams_.push_back(word);
      } else {
        node = -1;
        for (const std::string& text : tokens) {
          const std::int32_t id = word(text);
          if (id == 0 && (text != "<unk>" || !has_unknown)) {
            reader.fail(line, "only words that are unigrams");
          }
          if (node < 0) {
            node = id;
            continue;
          }
          std::int32_t child = children_.find(pair_key(node, id));
          if (child < 0) {
            child = add_node();
            children_.insert(pair_key(node, id), child);
          }
          node = child;
        }
        if (!std::isnan(probabilities_[node])) {
          reader.fail(line, "an n-gram that no line above has");
        }
      }
      const float weight = backoff.empty() ? 0.0f : reader.number(backoff);
      if (!std::isfinite(weight) || (n == order_ && weight != 0)) {
        reader.fail(line, n == order_ ? "no back-off" : "a finite back-off");
      }
      probabilities_[node] = value;
      backoffs_[node] = weight;
      most_backoff = std::max(most_backoff, weight);
    }
  }
  reader.expect("\\end\\");
  while (reader.read()) {
    if (!is_blank(reader.line())) reader.fail(reader.line(), "nothing after \\end\\");
  }
  for (const char* word : {"<s>", "</s>"}) {
    if (words_.count(word) == 0) {
      throw ArpaError(path + ": no unigram " + word + ", expected one");
    }
  }
  if (unigrams_.empty()) unigrams_ = all;
  // Back-offs above 0 are rare but allowed. A sum of floats may round up: hence the margin.
  if (most_backoff > 0) most_log10_ = 1e-3 + 1.001 * order_ * most_backoff;
}

std::int32_t Ngram::add_node() {
  if (probabilities_.size() >= std::numeric_limits<std::int32_t>::max()) {
    throw ArpaError("more n-grams than the native core can number");
  }
  probabilities_.push_back(std::numeric_limits<float>::quiet_NaN());
  backoffs_.push_back(0.0f);
  return static_cast<std::int32_t>(probabilities_.size()) - 1;
}

std::int32_t Ngram::word(const std::string& text) const {
  const auto found = words_.find(text);
  return found == words_.end() ? 0 : found->second;
}

void Ngram::start(bool boundary, std::int32_t* state) const {
  for (int k = 0; k < state_size(); ++k) state[k] = -1;
  if (boundary && state_size() > 0) state[0] = words_.at("<s>");
}

float Ngram::score(const std::int32_t* state, std::int32_t word, std::int32_t* next) const {
  float probability = probabilities_[word];
  int matched = 1;
  if (state_size() > 0) next[0] = word;
  for (int k = 1; k < order_; ++k) {
    const std::int32_t context = state[k - 1];
    const std::int32_t node = context < 0 ? -1 : children_.find(pair_key(context, word));
    if (k < state_size()) next[k] = node;
    if (node >= 0 && !std::isnan(probabilities_[node])) {
      probability = probabilities_[node];
      matched = k + 1;
    }
  }
  for (int k = matched; k < order_; ++k) {
    if (state[k - 1] >= 0) probability += backoffs_[state[k - 1]];
  }
  return probability;
}

}  // namespace asrkit
