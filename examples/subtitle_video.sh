#!/usr/bin/env bash
# Subtitles for a video: as a file beside it, and as a track inside a copy of it.
#
#     examples/subtitle_video.sh talk.mp4 [MODEL]     # talk.srt and talk.subtitled.mp4
#
# The track can be switched on and off, nothing is encoded anew. To draw the subtitles into the
# picture, for players that know no tracks:
#
#     ffmpeg -i talk.mp4 -vf subtitles=talk.srt -c:a copy talk.burned.mp4
#
# Needs ffmpeg, and asrkit with the extra `video` to hear what is inside a video.
set -euo pipefail

video=${1:?usage: subtitle_video.sh VIDEO [MODEL]}
model=${2:-demo-en} # knows 600 words; for speech of people: facebook/wav2vec2-large-960h-lv60-self
stem=${video%.*}

asrkit transcribe "$video" --model "$model" --output "$stem.srt"
ffmpeg -loglevel error -y -i "$video" -i "$stem.srt" -map 0 -map 1 -c copy -c:s mov_text \
  -metadata:s:s:0 language=eng "$stem.subtitled.mp4"
echo "$stem.srt" "$stem.subtitled.mp4"
