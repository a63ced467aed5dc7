#include "search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>

namespace asrkit {

namespace {

constexpr double kLn10 = 2.302585092994046;  // 1 / log10(e), the reference's digits
constexpr int kLongWord = 6;                 // characters
constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr std::int32_t kNone = -1;
constexpr std::size_t kGarbage = 1 << 18;  // nodes that may pile up before they are swept
constexpr std::size_t kMaxRows = 2048;
constexpr std::int64_t kFramesBetweenChecks = 256;

double sum_logs(double first, double second) {
  if (first >= second) return first + std::log(1 + std::exp(second - first));
  return second + std::log(1 + std::exp(first - second));
}

}  // namespace

// One search over one set of candidates.
//
// Words and the starts of words are parts: nodes of a tree, where equal text is the same node.
// A text is a node too: a text and one more word. So are the frames of a text's words.
class Search {
 public:
  Search(const Core& core, const Options& options, const Lookup* lookup)
      : core_(core),
        options_(options),
        lookup_(lookup),
        ngram_(core.ngram_.get()),
        answers_(lookup) {
    hotwords_ = Trie(options.hotwords);
    has_hotwords_ = !options.hotwords.empty();
    has_costs_ = core.has_lm_ || core.has_lexicon_;
    order_ = ngram_ != nullptr ? ngram_->order() : lookup != nullptr ? lookup->order : 1;
    state_size_ = ngram_ != nullptr ? ngram_->state_size() : core.has_lm_ ? 1 : 0;
    scratch_.resize(2 * std::max<std::size_t>(state_size_, 1));
    parts_.push_back({});
    if (core.is_ambiguous_) part_of_text_.emplace("", 0);
    texts_.push_back({kNone, 0, 0, 0.0, 0.0});
    states_.assign(state_size_, 0);
    if (ngram_ != nullptr) ngram_->start(options.score_boundary, states_.data());
    beams_.push_back({});
  }

  void advance(std::int32_t frame, const std::int32_t* labels, const double* log_probs,
               std::int64_t num_labels) {
    expanded_.clear();
    prepare_rows();
    const std::size_t keys = beams_.size() * (core_.has_repeats_ ? num_labels : 1);
    for (std::int64_t i = 0; i < num_labels; ++i) {
      if (i == 0 || !core_.has_repeats_) merged_.reset(keys);
      const std::int32_t label = core_.same_as_[labels[i]];
      for (std::size_t beam = 0; beam < beams_.size(); ++beam) {
        expand(static_cast<std::int32_t>(beam), label, log_probs[i]);
      }
    }
    select(score_expanded());
    next_beams_.clear();
    for (std::int32_t index : chosen_) next_beams_.push_back(materialise(expanded_[index], frame));
    beams_.swap(next_beams_);
    if (options_.prune_history) keep_distinct();
    if (parts_.size() + texts_.size() + frames_.size() > sweep_at_) sweep();
  }

  std::vector<Found> finish(std::size_t n_best) {
    leave_out_unfinished();
    expanded_.clear();
    merged_.reset(beams_.size());
    for (std::size_t i = 0; i < beams_.size(); ++i) {
      const Beam& beam = beams_[i];
      const std::int32_t text = extended(beam.text, beam.part);
      add({beam.logit_score, 0.0, 0.0, static_cast<std::int32_t>(i), text, 0, kNone, Kind::kClose});
    }
    select(score_ends());
    std::vector<Found> found;
    for (std::size_t i = 0; i < std::min(n_best, chosen_.size()); ++i) {
      const Expanded& item = expanded_[chosen_[i]];
      const Beam beam = materialise(item, 0);
      Found text{{}, {}, item.logit_score, item.score};
      for (std::int32_t at = beam.text; at > 0; at = texts_[at].parent) {
        text.words.push_back(part_text(texts_[at].word));
      }
      for (std::int32_t at = beam.frames; at >= 0; at = frames_[at].parent) {
        text.frames.push_back(frames_[at].frames);
      }
      std::reverse(text.words.begin(), text.words.end());
      std::reverse(text.frames.begin(), text.frames.end());
      found.push_back(std::move(text));
    }
    return found;
  }

 private:
  struct Part {
    std::int32_t parent = kNone;
    std::int32_t piece = 0;  // how the text goes on after the parent's
    std::int32_t characters = 0;
    std::int32_t in_lexicon = 0;   // node, -1 where no word starts so
    std::int32_t in_hotwords = 0;  // node, -1 where no hotword starts so
    std::int32_t word = kNone;     // the n-gram model's number, once it was asked for
    std::int32_t row = kNone;      // see `prepare_rows`
    bool has_children = false;
    double score = 0.0;
  };
  struct Text {
    std::int32_t parent;
    std::int32_t word;  // a part
    std::int32_t num_hotwords;
    double raw;    // what its words score
    double value;  // with the hotwords
  };
  struct FrameNode {
    std::int32_t parent;
    Frames frames;
  };
  struct Beam {
    std::int32_t text = 0;
    std::int32_t part = 0;
    std::int32_t last = kNone;
    std::int32_t frames = kNone;
    Frames part_frames{-1, -1};
    double logit_score = 0.0;
  };
  enum class Kind : std::uint8_t {
    kStay,    // a blank
    kRepeat,  // of the label before
    kAppend,  // to the part
    kClose,   // the part, which becomes a word
    kStart,   // close the part and start another
  };
  // A beam after one more label. What is new in it becomes nodes only if it survives.
  struct Expanded {
    double logit_score;
    double part_score;
    double score;
    std::int32_t beam;      // that it comes from
    std::int32_t new_text;  // -1 for that beam's text and part, if they are no node yet
    std::int32_t part;      // -1 for that beam's part and `label`, if they are no node yet
    std::int32_t label;
    Kind kind;
  };
  // Where an expanded beam is, by what it says; emptied in no time.
  struct Merged {
    struct Slot {
      std::uint32_t stamp = 0;
      std::int32_t index = 0;
    };
    std::vector<Slot> slots;
    std::uint32_t stamp = 0;

    void reset(std::size_t keys) {
      std::size_t size = 64;
      while (size < 2 * keys) size *= 2;
      if (size > slots.size() || ++stamp == 0) {
        slots.assign(std::max(size, slots.size()), Slot());
        stamp = 1;
      }
    }
  };

  void expand(std::int32_t index, std::int32_t label, double log_prob) {
    const Beam& beam = beams_[index];
    Expanded item{beam.logit_score + log_prob, 0.0, 0.0, index, beam.text, beam.part, label,
                  Kind::kStay};
    if (label == core_.blank_) {
      item.part_score = parts_[beam.part].score;
    } else if (label == beam.last) {
      item.kind = Kind::kRepeat;
      item.part_score = parts_[beam.part].score;
    } else if (core_.is_bpe_ && (must_break_ || core_.starts_word_[label])) {
      // PARITY: kept for the search and not for the beam, as in search.py.
      must_break_ = core_.forces_break_[label] != 0;
      item.kind = Kind::kStart;
      item.new_text = find_text(beam);
      item.part = interned(0, label + static_cast<std::int32_t>(core_.same_as_.size()));
      item.part_score = parts_[item.part].score;
    } else if (label == core_.space_) {
      item.kind = Kind::kClose;
      item.new_text = find_text(beam);
      item.part = 0;
    } else {
      item.kind = Kind::kAppend;
      if (core_.is_ambiguous_) {
        item.part = interned(beam.part, label);
        item.part_score = parts_[item.part].score;
      } else {
        const std::size_t cell = parts_[beam.part].row * core_.same_as_.size() + label;
        item.part = row_parts_[cell];
        item.part_score = row_scores_[cell];
      }
    }
    add(item);
  }

  std::int32_t find_text(const Beam& beam) const {
    return beam.part == 0 ? beam.text : text_children_.find(pair_key(beam.text, beam.part));
  }

  void add(const Expanded& item) {
    const Beam& beam = beams_[item.beam];
    const std::int32_t text = item.new_text >= 0 ? item.new_text : ~beam.text;
    const std::int32_t part = item.part >= 0 ? item.part : ~beam.part;
    const std::size_t mask = merged_.slots.size() - 1;
    std::uint64_t hash = mix(pair_key(part, text));
    if (core_.has_repeats_) hash += static_cast<std::uint32_t>(item.label) * 0x9e3779b9u;
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      Merged::Slot& slot = merged_.slots[at];
      if (slot.stamp != merged_.stamp) {
        slot = {merged_.stamp, static_cast<std::int32_t>(expanded_.size())};
        expanded_.push_back(item);
        return;
      }
      Expanded& other = expanded_[slot.index];
      if (is_same(other, item)) {
        const double sum = sum_logs(other.logit_score, item.logit_score);
        other = item;  // the later beam's frames stay
        other.logit_score = sum;
        return;
      }
    }
  }

  // Whether two expanded beams say the same. Where a node is missing, the beams they come from
  // must agree on what it will be made of.
  bool is_same(const Expanded& a, const Expanded& b) const {
    if (a.new_text != b.new_text || a.part != b.part || a.label != b.label) return false;
    if (a.new_text >= 0 && a.part >= 0) return true;
    const Beam& first = beams_[a.beam];
    const Beam& second = beams_[b.beam];
    return first.part == second.part && (a.new_text >= 0 || first.text == second.text);
  }

  // Give each part that a beam spells a row: for every label the part that it would go on as, -1
  // if that is no node, and that part's score. Only where equal text has one spelling, so that a
  // part that is no node is no other beam's either.
  void prepare_rows() {
    if (core_.is_ambiguous_) return;
    if (row_owners_.size() > kMaxRows) clear_rows();
    const std::size_t num_labels = core_.same_as_.size();
    for (const Beam& beam : beams_) {
      Part& part = parts_[beam.part];
      if (part.row >= 0) continue;
      part.row = static_cast<std::int32_t>(row_owners_.size());
      row_owners_.push_back(beam.part);
      const std::size_t first = part.row * num_labels;
      row_parts_.resize(first + num_labels, kNone);
      row_scores_.resize(first + num_labels, part_score(part.characters + 1, kNone, kNone));
      for (std::size_t label = 0; part.has_children && label < num_labels; ++label) {
        const std::uint64_t key = pair_key(beam.part, static_cast<std::int32_t>(label));
        row_parts_[first + label] = part_children_.find(key);
      }
      if (part.in_lexicon >= 0) {
        const Trie& lexicon = core_.lexicon_;
        for (auto at = lexicon.begin(part.in_lexicon); at != lexicon.end(part.in_lexicon); ++at) {
          const std::int32_t label = core_.label_of_byte_[at->byte];
          if (label >= 0) row_scores_[first + label] = 0.0;
        }
      }
      for (std::int32_t label : core_.longer_labels_) {
        const Core::Piece& piece = core_.pieces_[label];
        row_scores_[first + label] =
            part_score(part.characters + piece.characters,
                       core_.lexicon_.step(part.in_lexicon, piece.text), kNone);
      }
      for (std::size_t label = 0; has_hotwords_ && label < num_labels; ++label) {
        const Core::Piece& piece = core_.pieces_[label];
        const std::int32_t node = hotwords_.step(part.in_hotwords, piece.text);
        if (node < 0) continue;
        row_scores_[first + label] = part_score(part.characters + piece.characters, kNone, node);
      }
    }
  }

  void clear_rows() {
    for (std::int32_t owner : row_owners_) parts_[owner].row = kNone;
    row_owners_.clear();
    row_parts_.clear();
    row_scores_.clear();
  }

  // The part that reads on with a piece; made if it is no node yet.
  std::int32_t interned(std::int32_t parent, std::int32_t piece) {
    const std::int32_t found = part_children_.find(pair_key(parent, piece));
    return found >= 0 ? found : intern(parent, piece);
  }

  std::int32_t intern(std::int32_t parent, std::int32_t piece) {
    if (core_.is_ambiguous_) {
      const auto next = static_cast<std::int32_t>(parts_.size());
      const auto added =
          part_of_text_.emplace(part_text(parent) + core_.pieces_[piece].text, next);
      if (!added.second) {
        part_children_.insert(pair_key(parent, piece), added.first->second);
        return added.first->second;
      }
    }
    Part& before = parts_[parent];
    before.has_children = true;
    Part part;
    part.parent = parent;
    part.piece = piece;
    part.characters = before.characters + core_.pieces_[piece].characters;
    part.in_lexicon = core_.lexicon_.step(before.in_lexicon, core_.pieces_[piece].text);
    part.in_hotwords = hotwords_.step(before.in_hotwords, core_.pieces_[piece].text);
    part.score = part_score(part.characters, part.in_lexicon, part.in_hotwords);
    const auto index = static_cast<std::int32_t>(parts_.size());
    if (before.row >= 0) row_parts_[before.row * core_.same_as_.size() + piece] = index;
    parts_.push_back(part);
    part_children_.insert(pair_key(parent, piece), index);
    return index;
  }

  double part_score(std::int32_t characters, std::int32_t in_lexicon,
                    std::int32_t in_hotwords) const {
    if (characters == 0) return 0.0;
    if (has_hotwords_ && in_hotwords >= 0) {
      return options_.hotword_weight * characters / hotwords_.shortest(in_hotwords);
    }
    if (!has_costs_ || in_lexicon >= 0) return 0.0;
    return cost(characters);
  }

  double cost(std::int32_t characters) const {
    if (options_.lexicon_only) return kNever;
    const double cost = options_.unk_score_offset;
    return characters > kLongWord ? cost * characters / kLongWord : cost;
  }

  bool is_hotword(const Part& part) const {
    return has_hotwords_ && hotwords_.is_word(part.in_hotwords);
  }

  bool is_listed(const Part& part) const {
    return is_hotword(part) || core_.lexicon_.is_word(part.in_lexicon);
  }

  std::string part_text(std::int32_t part) const {
    std::vector<std::int32_t> pieces;
    for (; part > 0; part = parts_[part].parent) pieces.push_back(parts_[part].piece);
    std::string text;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
      text += core_.pieces_[*piece].text;
    }
    return text;
  }

  // The text with one more word, a node that may not be scored yet.
  std::int32_t extended(std::int32_t text, std::int32_t word) {
    if (word == 0) return text;
    std::int32_t child = text_children_.find(pair_key(text, word));
    if (child >= 0) return child;
    child = static_cast<std::int32_t>(texts_.size());
    const std::int32_t num_hotwords = texts_[text].num_hotwords + is_hotword(parts_[word]);
    texts_.push_back({text, word, num_hotwords, 0.0, 0.0});
    states_.resize(states_.size() + state_size_);
    text_children_.insert(pair_key(text, word), child);
    unscored_.push_back(child);
    return child;
  }

  // Score the expanded beams; returns the best score. A text that is new and could not survive
  // even if its word were the likeliest is not looked up, and keeps a score of nothing.
  double score_expanded() {
    double best = kNever;
    late_.clear();
    for (std::size_t i = 0; i < expanded_.size(); ++i) {
      Expanded& item = expanded_[i];
      if (item.new_text < 0) {
        late_.push_back(static_cast<std::int32_t>(i));
        continue;
      }
      item.score = rank(item.logit_score, texts_[item.new_text].value, item.part_score);
      best = std::max(best, item.score);
    }
    std::size_t num_kept = 0;
    for (std::int32_t index : late_) {
      Expanded& item = expanded_[index];
      const Beam& beam = beams_[item.beam];
      item.score = rank(item.logit_score, most_value(beam.text, beam.part), item.part_score);
      if (item.score < best + options_.beam_prune_logp) {
        item.score = kNever;
        continue;
      }
      item.new_text = extended(beam.text, beam.part);
      late_[num_kept++] = index;
    }
    late_.resize(num_kept);
    score_new_texts();
    for (std::int32_t index : late_) {
      Expanded& item = expanded_[index];
      item.score = rank(item.logit_score, texts_[item.new_text].value, item.part_score);
      best = std::max(best, item.score);
    }
    return best;
  }

  // No less than the value of a text with one more word. The steps are those of `word_score`, so
  // that rounding cannot turn the order.
  double most_value(std::int32_t text, std::int32_t word) const {
    const Part& part = parts_[word];
    double score = 0.0;
    if (core_.has_lm_) {
      if (ngram_ == nullptr || !(options_.alpha >= 0)) {
        return std::numeric_limits<double>::infinity();
      }
      double log10 = ngram_->most_log10();
      if (is_outside_lexicon(part) || options_.unk_score_offset > 0) {
        log10 += options_.unk_score_offset;
      }
      score = options_.alpha * log10 * kLn10 + options_.beta;
    } else if (core_.has_lexicon_ && !is_listed(part)) {
      score = cost(part.characters);
    }
    const std::int32_t num_hotwords = texts_[text].num_hotwords + is_hotword(part);
    return texts_[text].raw + score + options_.hotword_weight * num_hotwords;
  }

  bool is_outside_lexicon(const Part& part) const {
    return !core_.lexicon_.is_empty() && !core_.lexicon_.is_word(part.in_lexicon);
  }

  void score_new_texts() {
    if (core_.has_lm_ && ngram_ == nullptr) {
      for (std::int32_t text : unscored_) want(texts_[text].parent, texts_[text].word);
      answers_.fetch();
    }
    for (std::int32_t index : unscored_) {
      Text& text = texts_[index];
      const double raw = texts_[text.parent].raw;
      text.raw =
          raw + word_score(text.parent, text.word, states_.data() + index * state_size_, false);
      text.value = text.raw + options_.hotword_weight * text.num_hotwords;
    }
    unscored_.clear();
  }

  // A word after a text: its score; the state after it goes to `next`.
  double word_score(std::int32_t text, std::int32_t word, std::int32_t* next, bool is_end) {
    Part& part = parts_[word];
    if (!core_.has_lm_) {
      if (!core_.has_lexicon_ || word == 0 || is_listed(part)) return 0.0;
      return cost(part.characters);
    }
    double log10;
    bool is_known;
    if (ngram_ != nullptr) {
      if (part.word < 0) part.word = ngram_->word(part_text(word));
      is_known = part.word != 0;
      log10 = ngram_->score(states_.data() + text * state_size_, part.word, next);
    } else {
      const WordScore& answer = answers_.get(states_[text], word);
      is_known = answer.is_known;
      log10 = answer.log10;
      *next = answer.next;
    }
    if (is_outside_lexicon(part) || !is_known) {
      if (options_.lexicon_only && word != 0 && !is_listed(part)) return kNever;
      log10 += options_.unk_score_offset;
    }
    if (is_end && options_.score_boundary) log10 += end_score(next);
    return options_.alpha * log10 * kLn10 + options_.beta;
  }

  double end_score(const std::int32_t* state) {
    if (ngram_ != nullptr) {
      return ngram_->score(state, ngram_->word("</s>"), &scratch_[scratch_.size() / 2]);
    }
    return lookup_->ask({*state}, {"</s>"})[0].log10;
  }

  void want(std::int32_t text, std::int32_t word) {
    answers_.want(states_[text], word, [this](std::int32_t part) { return part_text(part); });
  }

  // Score the texts as they end; returns the best score.
  double score_ends() {
    if (core_.has_lm_ && ngram_ == nullptr) {
      for (const Expanded& item : expanded_) {
        want(beams_[item.beam].text, beams_[item.beam].part);
      }
      answers_.fetch();
    }
    unscored_.clear();
    double best = kNever;
    for (Expanded& item : expanded_) {
      const Beam& beam = beams_[item.beam];
      const double score = word_score(beam.text, beam.part, scratch_.data(), true);
      const double value = texts_[beam.text].raw + score +
                           options_.hotword_weight * texts_[item.new_text].num_hotwords;
      item.score = rank(item.logit_score, value, 0.0);
      best = std::max(best, item.score);
    }
    return best;
  }

  double rank(double logit_score, double value, double part) const {
    return has_costs_ ? logit_score + (value + part) : logit_score + value + part;
  }

  // The best of the expanded beams, best first; of equal scores the earlier.
  void select(double best) {
    const double floor = best + options_.beam_prune_logp;
    chosen_.clear();
    for (std::size_t i = 0; i < expanded_.size(); ++i) {
      if (expanded_[i].score >= floor) chosen_.push_back(static_cast<std::int32_t>(i));
    }
    const auto better = [this](std::int32_t a, std::int32_t b) {
      const double first = expanded_[a].score;
      const double second = expanded_[b].score;
      return first > second || (first == second && a < b);
    };
    const std::size_t width = static_cast<std::size_t>(options_.beam_width);
    if (chosen_.size() > width) {
      std::nth_element(chosen_.begin(), chosen_.begin() + width, chosen_.end(), better);
      chosen_.resize(width);
    }
    std::sort(chosen_.begin(), chosen_.end(), better);
  }

  // The beam that survives, with its new nodes. Skipped beams have no text and must not come here.
  Beam materialise(const Expanded& item, std::int32_t frame) {
    Beam beam = beams_[item.beam];
    const std::int32_t closed = beam.part;
    switch (item.kind) {
      case Kind::kStay:
        break;
      case Kind::kRepeat:
        beam.part_frames.second = frame + 1;
        break;
      case Kind::kAppend:
        beam.part = item.part >= 0 ? item.part : interned(beam.part, item.label);
        if (beam.part_frames.first < 0) beam.part_frames.first = frame;
        beam.part_frames.second = frame + 1;
        break;
      case Kind::kClose:
      case Kind::kStart:
        if (closed != 0) {
          frames_.push_back({beam.frames, beam.part_frames});
          beam.frames = static_cast<std::int32_t>(frames_.size()) - 1;
        }
        beam.part = item.part;
        beam.part_frames = {-1, -1};
        if (item.kind == Kind::kStart) beam.part_frames = {frame, frame + 1};
        break;
    }
    beam.text = item.new_text;
    beam.last = item.label;
    beam.logit_score = item.logit_score;
    return beam;
  }

  // Of beams that share their last words and all that may follow, keep the best.
  void keep_distinct() {
    const int num_words = std::max(1, order_ - 1);
    std::set<std::vector<std::int32_t>> seen;
    std::vector<Beam>& kept = next_beams_;
    kept.clear();
    for (const Beam& beam : beams_) {
      std::vector<std::int32_t> key{beam.part, beam.last};
      std::int32_t text = beam.text;
      for (int i = 0; i < num_words && text > 0; ++i, text = texts_[text].parent) {
        key.push_back(texts_[text].word);
      }
      if (seen.insert(key).second) kept.push_back(beam);
    }
    beams_.swap(kept);
  }

  void leave_out_unfinished() {
    if (!options_.lexicon_only) return;
    std::vector<Beam> finished;
    for (const Beam& beam : beams_) {
      if (beam.part == 0 || is_listed(parts_[beam.part])) finished.push_back(beam);
    }
    if (finished.empty()) {
      finished = beams_;
      for (Beam& beam : finished) beam.part = 0;
    }
    beams_.swap(finished);
  }

  // Drop the nodes that no beam needs, to bound the memory.
  void sweep() {
    std::vector<std::int32_t> part_to(parts_.size(), kNone);
    std::vector<std::int32_t> text_to(texts_.size(), kNone);
    std::vector<std::int32_t> frame_to(frames_.size(), kNone);
    const auto mark_part = [&](std::int32_t at) {
      for (; at >= 0 && part_to[at] < 0; at = parts_[at].parent) part_to[at] = 0;
    };
    mark_part(0);
    text_to[0] = 0;
    for (const Beam& beam : beams_) {
      mark_part(beam.part);
      for (std::int32_t at = beam.text; at >= 0 && text_to[at] < 0; at = texts_[at].parent) {
        text_to[at] = 0;
        mark_part(texts_[at].word);
      }
      for (std::int32_t at = beam.frames; at >= 0 && frame_to[at] < 0; at = frames_[at].parent) {
        frame_to[at] = 0;
      }
    }
    clear_rows();
    // Parents come before their children, and so they stay.
    std::int32_t next = 0;
    part_children_.clear();
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (part_to[i] < 0) continue;
      Part part = parts_[i];
      if (part.parent >= 0) {
        part.parent = part_to[part.parent];
        part_children_.insert(pair_key(part.parent, part.piece), next);
      }
      parts_[next] = part;
      part_to[i] = next++;
    }
    parts_.resize(next);
    if (core_.is_ambiguous_) {
      part_of_text_.clear();
      for (std::int32_t i = 0; i < next; ++i) part_of_text_.emplace(part_text(i), i);
    }
    next = 0;
    text_children_.clear();
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      if (text_to[i] < 0) continue;
      Text text = texts_[i];
      text.word = part_to[text.word];
      if (text.parent >= 0) {
        text.parent = text_to[text.parent];
        text_children_.insert(pair_key(text.parent, text.word), next);
      }
      texts_[next] = text;
      std::copy_n(states_.data() + i * state_size_, state_size_, states_.data() + next * state_size_);
      text_to[i] = next++;
    }
    texts_.resize(next);
    states_.resize(static_cast<std::size_t>(next) * state_size_);
    next = 0;
    for (std::size_t i = 0; i < frames_.size(); ++i) {
      if (frame_to[i] < 0) continue;
      FrameNode node = frames_[i];
      if (node.parent >= 0) node.parent = frame_to[node.parent];
      frames_[next] = node;
      frame_to[i] = next++;
    }
    frames_.resize(next);
    for (Beam& beam : beams_) {
      beam.part = part_to[beam.part];
      beam.text = text_to[beam.text];
      if (beam.frames >= 0) beam.frames = frame_to[beam.frames];
    }
    answers_.forget();
    sweep_at_ = kGarbage + 2 * (parts_.size() + texts_.size() + frames_.size());
  }

  const Core& core_;
  const Options& options_;
  const Lookup* lookup_;
  const Ngram* ngram_;
  Trie hotwords_;
  bool has_hotwords_;
  bool has_costs_;
  bool must_break_ = false;
  int order_;
  std::size_t state_size_;
  std::size_t sweep_at_ = kGarbage;

  std::vector<Part> parts_;
  Table part_children_;
  std::unordered_map<std::string, std::int32_t> part_of_text_;  // of an ambiguous alphabet
  std::vector<std::int32_t> row_owners_;  // parts
  std::vector<std::int32_t> row_parts_;
  std::vector<double> row_scores_;
  std::vector<Text> texts_;
  std::vector<std::int32_t> states_;  // of each text
  Table text_children_;
  std::vector<std::int32_t> unscored_;
  std::vector<FrameNode> frames_;
  Answers answers_;
  std::vector<std::int32_t> scratch_;

  std::vector<Beam> beams_;
  std::vector<Beam> next_beams_;
  std::vector<Expanded> expanded_;
  std::vector<std::int32_t> late_;
  std::vector<std::int32_t> chosen_;
  Merged merged_;
};

std::vector<Found> Core::search(const Candidates& candidates, std::size_t n_best,
                                const Options& options, const Lookup* lookup,
                                const std::function<void()>& interrupted) const {
  Search search(*this, options, ngram_ == nullptr ? lookup : nullptr);
  for (std::int64_t frame = 0; frame < candidates.num_frames; ++frame) {
    if (frame % kFramesBetweenChecks == 0) interrupted();
    const std::int64_t first = candidates.offsets[frame];
    search.advance(static_cast<std::int32_t>(frame), candidates.labels + first,
                   candidates.log_probs + first, candidates.offsets[frame + 1] - first);
  }
  return search.finish(n_best);
}

}  // namespace asrkit
