#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "table.h"

namespace asrkit {

// What a language model outside says of words after states; it may be slow.
struct WordScore {
  double log10;
  bool is_known;
  std::int32_t next;
};
struct Lookup {
  int order;
  std::function<std::vector<WordScore>(const std::vector<std::int32_t>& states,
                                       const std::vector<std::string>& words)>
      ask;
};

// What a language model outside has said in one search: each pair of state and word is asked for
// once, and all that a frame needs at once.
class Answers {
 public:
  explicit Answers(const Lookup* lookup) : lookup_(lookup) {}

  // Note a word, by number and text, that `fetch` is to ask for unless it is known.
  template <typename Text>
  void want(std::int32_t state, std::int32_t word, const Text& text_of) {
    if (index_.find(pair_key(state, word)) >= 0) return;
    index_.insert(pair_key(state, word),
                  static_cast<std::int32_t>(answers_.size() + states_.size()));
    states_.push_back(state);
    words_.push_back(text_of(word));
  }

  void fetch() {
    if (states_.empty()) return;
    const std::vector<WordScore> answers = lookup_->ask(states_, words_);
    answers_.insert(answers_.end(), answers.begin(), answers.end());
    states_.clear();
    words_.clear();
  }

  const WordScore& get(std::int32_t state, std::int32_t word) const {
    return answers_[index_.find(pair_key(state, word))];
  }

  // Before words are numbered anew.
  void forget() {
    index_.clear();
    answers_.clear();
  }

 private:
  const Lookup* lookup_;
  Table index_;
  std::vector<WordScore> answers_;
  std::vector<std::int32_t> states_;
  std::vector<std::string> words_;
};

}  // namespace asrkit
