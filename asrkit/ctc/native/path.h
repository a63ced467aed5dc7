// The best path through a word; the twin of find_path in asrkit/ctc/spans.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

namespace asrkit {

using Node = std::tuple<std::int32_t, std::int32_t, std::int32_t>;  // label, begin, end
using Placed = std::tuple<std::int32_t, std::int32_t, std::int32_t, double>;

template <typename Scores>
std::vector<Placed> find_path(std::int64_t num_rows, const Scores& score_of,
                              const std::vector<Node>& nodes, std::int32_t length,
                              std::int32_t blank) {
  const std::int32_t num_nodes = static_cast<std::int32_t>(nodes.size());
  const double never = -std::numeric_limits<double>::infinity();
  if (num_nodes == 0 || num_rows == 0) return {};
  std::vector<std::vector<std::int32_t>> sources(2 * num_nodes);
  for (std::int32_t node = 0; node < num_nodes; ++node) {
    const auto& [label, begin, end] = nodes[node];
    sources[node].push_back(node);
    for (std::int32_t before = 0; before < num_nodes; ++before) {
      if (std::get<2>(nodes[before]) == begin && std::get<0>(nodes[before]) != label) {
        sources[node].push_back(before);
      }
    }
    for (std::int32_t before = 0; before < num_nodes; ++before) {
      if (std::get<2>(nodes[before]) == begin) sources[node].push_back(num_nodes + before);
    }
    sources[num_nodes + node] = {num_nodes + node, node};
  }

  std::vector<double> scores(2 * num_nodes, never);
  for (std::int32_t node = 0; node < num_nodes; ++node) {
    const auto& [label, begin, end] = nodes[node];
    if (begin == 0) scores[node] = score_of(0, label);
  }
  std::vector<double> next(2 * num_nodes);
  std::vector<std::int32_t> came_from(2 * num_nodes * (num_rows - 1));
  for (std::int64_t row = 1; row < num_rows; ++row) {
    const double silent = score_of(row, blank);
    std::int32_t* from = &came_from[2 * num_nodes * (row - 1)];
    for (std::int32_t state = 0; state < 2 * num_nodes; ++state) {
      std::int32_t best = sources[state][0];
      for (std::int32_t source : sources[state]) {
        if (scores[source] > scores[best]) best = source;
      }
      from[state] = best;
      next[state] =
          scores[best] + (state < num_nodes ? score_of(row, std::get<0>(nodes[state])) : silent);
    }
    scores.swap(next);
  }

  std::int32_t last = -1;
  for (std::int32_t node = 0; node < num_nodes; ++node) {
    if (std::get<2>(nodes[node]) == length && (last < 0 || scores[node] > scores[last])) {
      last = node;
    }
  }
  if (last < 0 || scores[last] == never) return {};
  std::vector<std::int32_t> path(num_rows);
  path[num_rows - 1] = last;
  for (std::int64_t row = num_rows - 1; row > 0; --row) {
    path[row - 1] = came_from[2 * num_nodes * (row - 1) + path[row]];
  }
  std::vector<Placed> placed;
  for (std::int64_t start = 0, end = 0; start < num_rows; start = end) {
    double total = 0.0;
    for (end = start; end < num_rows && path[end] == path[start]; ++end) {
      if (path[start] < num_nodes) total += score_of(end, std::get<0>(nodes[path[start]]));
    }
    if (path[start] < num_nodes) {
      placed.emplace_back(path[start], static_cast<std::int32_t>(start),
                          static_cast<std::int32_t>(end), total / (end - start));
    }
  }
  return placed;
}

}  // namespace asrkit
