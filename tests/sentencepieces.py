"""A small SentencePiece model and its vocab.json, trained on the spot."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

LANGUAGES = "pt fr ru nl ro it es de".split()
LINES = """the quick brown fox jumps over the lazy dog
hello world , how are you today
ça va très bien merci
grüße aus münchen und köln
привет мир как дела""".splitlines()


def write_files(
    folder: Path, *, languages: tuple[str, ...] = (), normalization: str = "nmt_nfkc"
) -> dict[str, int]:
    """Write sentencepiece.bpe.model and vocab.json; give back the latter's table.

    Indices are in another order than SentencePiece's own, as in the published models, where both
    come from different programs.
    """
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=100,
        normalization_rule_name=normalization,
        user_defined_symbols=[f"<lang:{code}>" for code in languages],
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    processor = SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.IdToPiece(index) for index in range(processor.GetPieceSize())]
    special = [*"<s> <pad> </s> <unk>".split(), *(f"<lang:{code}>" for code in languages)]
    table = {token: index for index, token in enumerate(special)}
    others = [piece for piece in reversed(pieces) if piece not in table]
    table |= {piece: len(special) + index for index, piece in enumerate(others)}
    write_json(folder / "vocab.json", table)
    return table


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
