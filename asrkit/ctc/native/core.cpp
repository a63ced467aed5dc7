#include <algorithm>
#include <unordered_map>

#include "search.h"

namespace asrkit {

namespace {

const char kBoundary[] = "\xe2\x96\x81";  // U+2581

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

Core::Core(std::vector<std::string> labels, bool is_bpe, const std::vector<std::string>* unigrams,
           std::shared_ptr<const Ngram> ngram, bool has_lm)
    : is_bpe_(is_bpe), has_lexicon_(unigrams != nullptr), has_lm_(has_lm), ngram_(ngram) {
  const std::int32_t num_labels = static_cast<std::int32_t>(labels.size());
  std::unordered_map<std::string, std::int32_t> first;
  for (std::int32_t label = 0; label < num_labels; ++label) {
    const std::string& text = labels[label];
    same_as_.push_back(first.emplace(text, label).first->second);
    has_repeats_ = has_repeats_ || same_as_.back() != label;
    if (text.empty() && blank_ < 0) blank_ = label;
    if (!is_bpe && text == " " && space_ < 0) space_ = label;
    pieces_.push_back({text, num_characters(text)});
    starts_word_.push_back(is_bpe && starts_with(text, kBoundary));
    forces_break_.push_back(is_bpe && ends_with(text, kBoundary));
  }
  for (const std::string& text : labels) {
    std::string piece = text;
    if (is_bpe && starts_with(piece, kBoundary)) piece.erase(0, sizeof(kBoundary) - 1);
    if (is_bpe && ends_with(piece, kBoundary)) piece.resize(piece.size() - sizeof(kBoundary) + 1);
    pieces_.push_back({piece, num_characters(piece)});
  }
  is_ambiguous_ = is_bpe || has_repeats_;
  std::vector<std::string> sorted;
  for (const std::string& text : labels) {
    if (!text.empty() && text != " ") sorted.push_back(text);
  }
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    is_ambiguous_ = is_ambiguous_ || starts_with(sorted[i], sorted[i - 1]);
  }
  label_of_byte_.assign(256, -1);
  for (std::int32_t label = num_labels - 1; label >= 0; --label) {
    const std::string& text = labels[label];
    if (text.size() == 1) label_of_byte_[static_cast<unsigned char>(text[0])] = label;
    if (text.size() > 1) longer_labels_.push_back(label);
  }
  if (unigrams != nullptr) lexicon_ = Trie(*unigrams);
}

}  // namespace asrkit
