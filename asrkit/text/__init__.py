"""Vocabularies: which token an index stands for, and how tokens become text."""

from asrkit.text.ctc import CTCVocabulary, nearest_languages
from asrkit.text.files import languages_of
from asrkit.text.subword import Speech2Text2Vocabulary, Speech2TextVocabulary

__all__ = [
    "CTCVocabulary",
    "Speech2Text2Vocabulary",
    "Speech2TextVocabulary",
    "languages_of",
    "nearest_languages",
]
