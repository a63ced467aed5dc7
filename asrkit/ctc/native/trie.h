#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace asrkit {

// Code points of UTF-8.
std::int32_t num_characters(const std::string& text);

// Every start of a set of words, by the bytes of its UTF-8. The ways on from a node lie together.
class Trie {
 public:
  struct Edge {
    std::int32_t from;
    std::int32_t to;
    unsigned char byte;
  };

  Trie() = default;
  explicit Trie(const std::vector<std::string>& words);

  // The node after more bytes; -1 where no word goes on so. Node 0 is the empty start.
  std::int32_t step(std::int32_t node, const std::string& bytes) const {
    for (unsigned char byte : bytes) {
      if (node < 0) return -1;
      std::int32_t next = -1;
      for (const Edge* edge = begin(node); edge != end(node); ++edge) {
        if (edge->byte == byte) next = edge->to;
      }
      node = next;
    }
    return node;
  }
  const Edge* begin(std::int32_t node) const { return edges_.data() + first_edge_[node]; }
  const Edge* end(std::int32_t node) const { return edges_.data() + first_edge_[node + 1]; }

  bool is_word(std::int32_t node) const { return node >= 0 && is_word_[node] != 0; }
  bool is_empty() const { return is_word_.size() == 1 && is_word_[0] == 0; }

  // Characters of the shortest word that starts so.
  std::int32_t shortest(std::int32_t node) const { return shortest_[node]; }

 private:
  std::vector<Edge> edges_;
  std::vector<std::int32_t> first_edge_{0, 0};
  std::vector<std::uint8_t> is_word_{0};
  std::vector<std::int32_t> shortest_{0x7fffffff};
};

}  // namespace asrkit
