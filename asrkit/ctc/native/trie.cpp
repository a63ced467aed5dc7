#include "trie.h"

#include <algorithm>

#include "table.h"

namespace asrkit {

std::int32_t num_characters(const std::string& text) {
  return static_cast<std::int32_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

Trie::Trie(const std::vector<std::string>& words) {
  Table children;
  for (const std::string& word : words) {
    const std::int32_t length = num_characters(word);
    std::int32_t node = 0;
    shortest_[0] = std::min(shortest_[0], length);
    for (unsigned char byte : word) {
      std::int32_t child = children.find(pair_key(node, byte));
      if (child < 0) {
        child = static_cast<std::int32_t>(is_word_.size());
        children.insert(pair_key(node, byte), child);
        edges_.push_back({node, child, byte});
        is_word_.push_back(0);
        shortest_.push_back(length);
      }
      node = child;
      shortest_[node] = std::min(shortest_[node], length);
    }
    is_word_[node] = 1;
  }
  std::stable_sort(edges_.begin(), edges_.end(),
                   [](const Edge& a, const Edge& b) { return a.from < b.from; });
  first_edge_.assign(is_word_.size() + 1, 0);
  for (const Edge& edge : edges_) ++first_edge_[edge.from + 1];
  for (std::size_t node = 0; node < is_word_.size(); ++node) {
    first_edge_[node + 1] += first_edge_[node];
  }
}

}  // namespace asrkit
