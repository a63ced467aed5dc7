"""An encoder-decoder that writes text, and the one place that tells it from a CTC model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asrkit.checkpoint import Checkpoint
from asrkit.errors import CheckpointError, UsageError
from asrkit.frontend import FilterbankFrontend, WaveformFrontend, frontend_from_dict
from asrkit.models.runtime import build_model, dtype_name, generate, is_encoder_decoder
from asrkit.models.speech_to_text import EncoderDecoder
from asrkit.options import GenerationOptions, ModelOptions
from asrkit.seq2seq import GenerationSettings
from asrkit.suggest import did_you_mean
from asrkit.tasks.loading import describe, find_checkpoint
from asrkit.tasks.recognizer import Recognizer
from asrkit.text import Speech2Text2Vocabulary, Speech2TextVocabulary
from asrkit.types import Alternative, ModelInfo

_SENTENCEPIECE = "sentencepiece.bpe.model"


@dataclass(frozen=True)
class Generator:
    """A model, its front end and its vocabulary.

    Attributes:
        model: in eval mode, on its device.
        frontend: prepares samples.
        vocabulary: spells tokens, and knows the languages that can be written.
        info: names the weights in results.
    """

    model: EncoderDecoder
    frontend: WaveformFrontend | FilterbankFrontend
    vocabulary: Speech2TextVocabulary | Speech2Text2Vocabulary
    info: ModelInfo

    @classmethod
    def load(cls, options: ModelOptions) -> Generator:
        """Load an encoder-decoder, its front end and its vocabulary.

        Raises:
            CheckpointError: not found, unreadable, not supported, or without a vocabulary.
            UsageError: it is a CTC model.
        """
        checkpoint = find_checkpoint(options)
        if not is_encoder_decoder(checkpoint):
            raise UsageError(
                f"{checkpoint.id} is no encoder-decoder: it spells what it hears, and cannot "
                "translate",
                hint=f"asrkit transcribe --model {checkpoint.id}; to translate, a model such as "
                "facebook/s2t-medium-mustc-multilingual-st",
            )
        return cls.from_checkpoint(checkpoint, options)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, options: ModelOptions) -> Generator:
        """As `load`, from an encoder-decoder that was found.

        Raises:
            UsageError: the options choose the language of a CTC model.
        """
        if options.language is not None:
            raise UsageError(
                f"{checkpoint.id} is an encoder-decoder, and --language chooses what a CTC model "
                "hears",
                hint="asrkit translate --target-lang chooses what is written",
            )
        model = build_model(checkpoint, head="seq2seq", device=options.device, dtype=options.dtype)
        assert isinstance(model, EncoderDecoder)  # for the type checker; the head gives no other
        try:
            frontend = _frontend(checkpoint)
            vocabulary = _vocabulary(checkpoint)
        except CheckpointError as error:
            raise error.about(checkpoint.id) from error
        info = ModelInfo(checkpoint.id, checkpoint.revision, dtype_name(model))
        return cls(model, frontend, vocabulary, info)

    def describe(self) -> str:
        """One line for people: which model, how large, where."""
        return describe(self.model, self.info)

    def settings(
        self, options: GenerationOptions, language: str | None = None
    ) -> GenerationSettings:
        """How to search for texts in a language, by its code; None is what the files say.

        Raises:
            UsageError: the model writes no such language, or several of which none is chosen.
        """
        settings = self.model.generation
        return settings.with_options(options, forced_bos_token_id=self._language_id(language))

    def write(
        self, inputs: Sequence[NDArray[np.float32]], settings: GenerationSettings
    ) -> list[list[Alternative]]:
        """Write texts of one batch, as the front end prepares it; the best of each first."""
        return [
            [
                Alternative(self.vocabulary.decode(text.tokens), score=round(text.score, 4))
                for text in texts
            ]
            for texts in generate(self.model, inputs, settings)
        ]

    def _language_id(self, language: str | None) -> int | None:
        known = self.vocabulary.languages
        language = language or self.vocabulary.target_language
        if language is None:
            if known and self.model.generation.forced_bos_token_id is None:
                raise UsageError(
                    f"{self.info.id} writes several languages, and none is chosen",
                    hint=f"asrkit translate --target-lang with one of {', '.join(sorted(known))}",
                )
            return None
        if not known:
            raise UsageError(
                f"{self.info.id} writes one language, and {language!r} cannot be chosen",
                hint="leave out the target language",
            )
        if language not in known:
            near = did_you_mean(language, known)
            raise UsageError(
                f"{self.info.id} does not write {language!r}",
                hint=f"{f'{near} ' if near else ''}it writes {', '.join(sorted(known))}",
            )
        return known[language]


def load_speech_model(options: ModelOptions) -> Recognizer | Generator:
    """Load what turns speech into text: a CTC model or an encoder-decoder.

    Raises:
        CheckpointError: not found, unreadable, not supported, or without a vocabulary.
    """
    checkpoint = find_checkpoint(options)
    kind = Generator if is_encoder_decoder(checkpoint) else Recognizer
    return kind.from_checkpoint(checkpoint, options)


def _frontend(checkpoint: Checkpoint) -> WaveformFrontend | FilterbankFrontend:
    """What prepares the samples of a checkpoint."""
    name, key = "preprocessor_config.json", "feature_extractor_type"
    is_filterbank = checkpoint.config["model_type"] == "speech_to_text"
    expected = "Speech2TextFeatureExtractor" if is_filterbank else "Wav2Vec2FeatureExtractor"
    data = {key: expected} | checkpoint.read_json(name, required=False)
    if data[key] != expected:
        raise CheckpointError(f"{name}: {key} is {data[key]!r}, expected {expected!r}")
    return frontend_from_dict(data)


def _vocabulary(checkpoint: Checkpoint) -> Speech2TextVocabulary | Speech2Text2Vocabulary:
    """What spells the tokens of a checkpoint."""
    table = checkpoint.read_json("vocab.json")
    files = {
        name: checkpoint.read_json(f"{name}.json", required=False)
        for name in ("tokenizer_config", "special_tokens_map", "added_tokens")
    }
    if checkpoint.config["model_type"] != "speech_to_text":
        return Speech2Text2Vocabulary.from_files(table, merges=None, **files)
    pieces = checkpoint.path(_SENTENCEPIECE)
    if pieces is None:
        raise CheckpointError(f"no {_SENTENCEPIECE} in {checkpoint.directory}")
    return Speech2TextVocabulary.from_files(table, pieces, **files)
