"""The registry of model families.

A family is one module with `HEADS` (head name to class) and `rename_keys`; its line here makes it
known. Strings, so that a family is imported when a checkpoint asks for it.
"""

# model_type of config.json -> the module that implements it
FAMILIES = {
    "wav2vec2": "asrkit.models.wav2vec2",
    "hubert": "asrkit.models.hubert",
    "speech_to_text": "asrkit.models.speech_to_text",
    "speech-encoder-decoder": "asrkit.models.speech_encoder_decoder",
}
