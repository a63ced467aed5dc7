// CTC beam search; the twin of asrkit/ctc/search.py, result for result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ngram.h"
#include "table.h"

namespace asrkit {

// As SearchOptions in search.py.
struct Options {
  std::int64_t beam_width;
  double beam_prune_logp;
  std::vector<std::string> hotwords;
  double hotword_weight;
  double alpha;
  double beta;
  double unk_score_offset;
  bool score_boundary;
  bool prune_history;
  bool lexicon_only;
};

// As Candidates in search.py.
struct Candidates {
  const std::int64_t* offsets;
  const std::int32_t* labels;
  const double* log_probs;
  std::int64_t num_frames;
};

using Frames = std::pair<std::int32_t, std::int32_t>;

struct Found {
  std::vector<std::string> words;
  std::vector<Frames> frames;
  double logit_score;
  double lm_score;
};

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

// Every start of a set of words, by the bytes of its UTF-8.
class Trie {
 public:
  void insert(const std::string& word);

  // The node after more bytes; -1 where no word goes on so. Node 0 is the empty start.
  std::int32_t step(std::int32_t node, const std::string& bytes) const {
    for (unsigned char byte : bytes) {
      if (node < 0) return -1;
      node = children_.find(pair_key(node, byte));
    }
    return node;
  }
  bool is_word(std::int32_t node) const { return node >= 0 && is_word_[node] != 0; }
  bool is_empty() const { return is_word_.size() == 1 && is_word_[0] == 0; }

  // Characters of the shortest word that starts so.
  std::int32_t shortest(std::int32_t node) const { return shortest_[node]; }

 private:
  Table children_;
  std::vector<std::uint8_t> is_word_{0};
  std::vector<std::int32_t> shortest_{0x7fffffff};
};

// What searches have in common: labels and words. It does not change.
class Core {
 public:
  Core(std::vector<std::string> labels, bool is_bpe, const std::vector<std::string>* unigrams,
       std::shared_ptr<const Ngram> ngram, bool has_lm);

  // `interrupted` is asked now and then, and may throw to end the search.
  std::vector<Found> search(const Candidates& candidates, std::size_t n_best,
                            const Options& options, const Lookup* lookup,
                            const std::function<void()>& interrupted) const;

 private:
  friend class Search;

  // How a label reads: to be appended as it is, or as the start of a word.
  struct Piece {
    std::string text;
    std::int32_t characters;
  };

  std::vector<Piece> pieces_;  // as it is; then all again as the start of a word
  std::vector<std::int32_t> same_as_;  // the first label with the same text
  std::vector<std::uint8_t> starts_word_;
  std::vector<std::uint8_t> forces_break_;
  std::int32_t blank_ = -1;
  std::int32_t space_ = -1;
  bool is_bpe_;
  bool has_repeats_ = false;   // of labels
  bool is_ambiguous_ = false;  // two sequences of labels may read the same
  bool has_lexicon_;
  bool has_lm_;
  Trie lexicon_;
  std::shared_ptr<const Ngram> ngram_;
};

}  // namespace asrkit
