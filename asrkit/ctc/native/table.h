// Hash tables for keys of 64 bits: open addressing, nothing is ever deleted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace asrkit {

inline std::uint64_t mix(std::uint64_t key) {
  key ^= key >> 32;
  key *= 0x9e3779b97f4a7c15ull;
  return key ^ (key >> 29);
}

inline std::uint64_t pair_key(std::int32_t high, std::int32_t low) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(high)) << 32) |
         static_cast<std::uint32_t>(low);
}

// From a key to a number from 0; a number that is not there reads as -1.
class Table {
 public:
  Table() : slots_(16) {}

  std::int32_t find(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = mix(key) & mask;; at = (at + 1) & mask) {
      if (slots_[at].value < 0) return -1;
      if (slots_[at].key == key) return slots_[at].value;
    }
  }

  // The key must not be in the table.
  void insert(std::uint64_t key, std::int32_t value) {
    if (2 * (++size_) > slots_.size()) grow();
    place(key, value);
  }

  void clear() {
    size_ = 0;
    slots_.assign(16, Slot());
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::int32_t value = -1;
  };

  void place(std::uint64_t key, std::int32_t value) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = mix(key) & mask;
    while (slots_[at].value >= 0) at = (at + 1) & mask;
    slots_[at].key = key;
    slots_[at].value = value;
  }

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.value >= 0) place(slot.key, slot.value);
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace asrkit
