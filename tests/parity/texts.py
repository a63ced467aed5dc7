"""Random texts of many scripts, and what tokenizers make of them."""

from __future__ import annotations

import random

WORDS = (
    "the quick brown fox hello world Hello WORLD ça va très bien Grüße aus München привет Мир "
    "ΟΔΥΣΣΕΥΣ İstanbul ﬁre ½ ① 東京 नमस्ते مرحبا 👩‍👩‍👧 e\u0301 \u00a0 \u200b it's don't . , ! ? ' "
    "- here@@ @@ a @ </w> 3.14 <lang <unk <s"
).split(" ")
SPACES = (" ", " ", " ", "  ", "\n", "\t", "\u3000", "")
SPECIALS = ("<s>", "</s>", "<pad>", "<unk>")


def random_text(seed: int, specials: tuple[str, ...] = SPECIALS) -> str:
    choose = random.Random(seed)
    parts = []
    for _ in range(choose.randint(0, 12)):
        kind = choose.random()
        if kind < 0.1:
            parts.append(choose.choice(specials))
        elif kind < 0.2:
            parts.append(
                chr(choose.choice((choose.randrange(32, 0x2FF), choose.randrange(0xD7FF))))
            )
        else:
            parts.append(choose.choice(WORDS))
        parts.append(choose.choice(SPACES))
    return "".join(parts)


def random_ids(seed: int, num_tokens: int) -> list[int]:
    """Indices, some beyond the vocabulary."""
    choose = random.Random(seed)
    return [choose.randrange(num_tokens + 3) for _ in range(choose.randint(0, 20))]


def random_merges(seed: int) -> tuple[dict[str, int], str]:
    """A random vocabulary and merges: pairs of what is there become one."""
    choose = random.Random(seed)
    words = [word for word in WORDS if word.strip() and "</w>" not in word]
    symbols = {symbol for word in words for symbol in (*word[:-1], word[-1] + "</w>")}
    merges = []
    for _ in range(150):
        word = choose.choice(words)
        start = choose.randrange(len(word))
        end = min(len(word), start + choose.randint(2, 4))
        cut = choose.randint(start + 1, max(start + 1, end - 1))
        first, second = word[start:cut], word[cut:end] + "</w>" * (end == len(word))
        if cut < end:
            merges.append(f"{first} {second} {choose.randint(1, 99)}")
            symbols |= {first, second, first + second}
    pieces = [s.removesuffix("</w>") if s.endswith("</w>") else f"{s}@@" for s in sorted(symbols)]
    kept = [piece for piece in dict.fromkeys(pieces) if choose.random() < 0.9]
    table = {token: i for i, token in enumerate([*"<s> <pad> </s> <unk>".split(), *kept])}
    return table, "\n".join(merges) + choose.choice(("\n", ""))
