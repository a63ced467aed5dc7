// CTC beam search; the twin of asrkit/ctc/search.py, result for result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lookup.h"
#include "ngram.h"
#include "trie.h"

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
  std::vector<std::int32_t> label_of_byte_;  // -1 where no label is that byte alone
  std::vector<std::int32_t> longer_labels_;   // of several bytes
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
