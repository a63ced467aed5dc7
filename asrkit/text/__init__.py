"""Vocabularies: which token an index stands for, and how tokens become text."""

from asrkit.text.ctc import CTCVocabulary, languages_of, nearest_languages
from asrkit.text.subword import Speech2Text2Vocabulary, Speech2TextVocabulary

__all__ = [
    "CTCVocabulary",
    "Speech2Text2Vocabulary",
    "Speech2TextVocabulary",
    "languages_of",
    "nearest_languages",
]
