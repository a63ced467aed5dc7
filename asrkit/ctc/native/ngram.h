// N-gram language models in ARPA text; the twin of asrkit/ctc/arpa.py, to the bit.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "table.h"

namespace asrkit {

class ArpaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A trie of words in reading order. The first nodes are the words themselves, <unk> is node 0.
// A state is order - 1 nodes: those of the last word, the last two words and so on, -1 where the
// model has no such n-gram.
class Ngram {
 public:
  // Reads a model; the interpreter's lock must be held. Throws ArpaError.
  explicit Ngram(const std::string& path);

  int order() const { return order_; }
  int state_size() const { return order_ - 1; }
  const std::vector<std::string>& unigrams() const { return unigrams_; }

  // The number of a word; 0 for <unk> and for words that are not in the model.
  std::int32_t word(const std::string& text) const;

  // No word after any state has a higher log10 probability.
  double most_log10() const { return most_log10_; }

  void start(bool boundary, std::int32_t* state) const;

  // log10 probability of a word after a state, and the state after it.
  float score(const std::int32_t* state, std::int32_t word, std::int32_t* next) const;

 private:
  class Reader;

  std::int32_t add_node();

  int order_ = 0;
  double most_log10_ = 0.0;
  std::unordered_map<std::string, std::int32_t> words_;
  std::vector<std::string> unigrams_;
  std::vector<float> probabilities_;  // log10; NaN for contexts that are no n-grams
  std::vector<float> backoffs_;       // log10
  Table children_;
};

}  // namespace asrkit
