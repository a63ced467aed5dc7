# PowerShell completion for asrkit.
# Written by `python -m asrkit.cli.docs`; do not edit.

Register-ArgumentCompleter -Native -CommandName asrkit -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What each command takes. An option's value is what completes it, null for a flag.
    $tree = @{
        'asrkit' = @{
            Commands = @('transcribe', 'translate', 'align', 'classify', 'embed', 'eval-wer', 'doctor', 'completion', 'convert', 'models')
            Operands = @()
            Repeats = $false
            Options = @{
                '--version' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit transcribe' = @{
            Commands = @()
            Operands = @('@audio')
            Repeats = $true
            Options = @{
                '--recursive' = $null
                '-r' = $null
                '--files-from' = '@files'
                '--audio-column' = ''
                '--text-column' = ''
                '--id-column' = ''
                '--channel' = 'mix'
                '--model' = '@models @directories'
                '-m' = '@models @directories'
                '--revision' = ''
                '--language' = '@languages=demo-en'
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--timestamps' = 'none segment word char'
                '--chunk-length' = ''
                '--stride' = ''
                '--decoder' = 'auto greedy beam'
                '--beam-width' = ''
                '--lm' = '@lms'
                '--lm-unigrams' = '@files'
                '--no-lm' = $null
                '--lm-alpha' = ''
                '--lm-beta' = ''
                '--lexicon' = '@files'
                '--lexicon-only' = $null
                '--hotwords' = '@files'
                '--hotword-weight' = ''
                '--n-best' = ''
                '--emissions' = '@directories'
                '--align-model' = '@models @directories'
                '--length-penalty' = ''
                '--max-new-tokens' = ''
                '--no-repeat-ngram' = ''
                '--format' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '-f' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '--output' = '@files'
                '-o' = '@files'
                '--max-line-width' = ''
                '--max-line-count' = ''
                '--max-words-per-line' = ''
                '--max-pause' = ''
                '--batch-size' = ''
                '--batch-seconds' = ''
                '--threads' = ''
                '--engine' = 'local ray'
                '--address' = 'auto'
                '--workers' = ''
                '--gpus-per-worker' = ''
                '--resume' = $null
                '--skip-existing' = $null
                '--shard' = ''
                '--dry-run' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit translate' = @{
            Commands = @()
            Operands = @('@audio')
            Repeats = $true
            Options = @{
                '--recursive' = $null
                '-r' = $null
                '--files-from' = '@files'
                '--audio-column' = ''
                '--text-column' = ''
                '--id-column' = ''
                '--channel' = 'mix'
                '--model' = '@models @directories'
                '-m' = '@models @directories'
                '--revision' = ''
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--target-lang' = '@languages=demo-translate'
                '--source-text' = $null
                '--source-model' = '@models @directories'
                '--chunk-length' = ''
                '--beam-width' = ''
                '--length-penalty' = ''
                '--max-new-tokens' = ''
                '--no-repeat-ngram' = ''
                '--n-best' = ''
                '--format' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '-f' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '--output' = '@files'
                '-o' = '@files'
                '--max-line-width' = ''
                '--max-words-per-line' = ''
                '--batch-size' = ''
                '--batch-seconds' = ''
                '--threads' = ''
                '--engine' = 'local ray'
                '--address' = 'auto'
                '--workers' = ''
                '--gpus-per-worker' = ''
                '--resume' = $null
                '--skip-existing' = $null
                '--shard' = ''
                '--dry-run' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit align' = @{
            Commands = @()
            Operands = @('@audio', '@texts')
            Repeats = $false
            Options = @{
                '--recursive' = $null
                '-r' = $null
                '--audio-column' = ''
                '--text-column' = ''
                '--id-column' = ''
                '--channel' = 'mix'
                '--level' = 'segment word char'
                '--unknown' = 'star interpolate drop error'
                '--star' = 'none edges segment'
                '--tail' = ''
                '--min-score' = ''
                '--reference' = '@files'
                '--plot' = '@files'
                '--model' = '@models @directories'
                '-m' = '@models @directories'
                '--revision' = ''
                '--language' = '@languages=demo-en'
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--chunk-length' = ''
                '--stride' = ''
                '--format' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '-f' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '--output' = '@files'
                '-o' = '@files'
                '--batch-size' = ''
                '--batch-seconds' = ''
                '--threads' = ''
                '--engine' = 'local ray'
                '--address' = 'auto'
                '--workers' = ''
                '--gpus-per-worker' = ''
                '--resume' = $null
                '--skip-existing' = $null
                '--shard' = ''
                '--dry-run' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit classify' = @{
            Commands = @()
            Operands = @('@audio')
            Repeats = $true
            Options = @{
                '--recursive' = $null
                '-r' = $null
                '--files-from' = '@files'
                '--audio-column' = ''
                '--id-column' = ''
                '--channel' = 'mix'
                '--model' = '@models @directories'
                '-m' = '@models @directories'
                '--revision' = ''
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--chunk-length' = ''
                '--stride' = ''
                '--top-k' = ''
                '--threshold' = ''
                '--window' = ''
                '--hop' = ''
                '--format' = ', txt json jsonl tsv csv rttm'
                '-f' = ', txt json jsonl tsv csv rttm'
                '--output' = '@files'
                '-o' = '@files'
                '--batch-size' = ''
                '--batch-seconds' = ''
                '--threads' = ''
                '--engine' = 'local ray'
                '--address' = 'auto'
                '--workers' = ''
                '--gpus-per-worker' = ''
                '--resume' = $null
                '--skip-existing' = $null
                '--shard' = ''
                '--dry-run' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit embed' = @{
            Commands = @()
            Operands = @('@audio')
            Repeats = $true
            Options = @{
                '--recursive' = $null
                '-r' = $null
                '--files-from' = '@files'
                '--audio-column' = ''
                '--id-column' = ''
                '--channel' = 'mix'
                '--model' = '@models @directories'
                '-m' = '@models @directories'
                '--revision' = ''
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--chunk-length' = ''
                '--stride' = ''
                '--layer' = 'last mean-last-4 all'
                '--pool' = 'mean max std first none'
                '--normalize' = $null
                '--pairs' = '@files'
                '--compare' = '@audio'
                '--similar' = '@audio'
                '--top' = ''
                '--format' = ', jsonl npy npz parquet'
                '-f' = ', jsonl npy npz parquet'
                '--output' = '@files'
                '-o' = '@files'
                '--batch-size' = ''
                '--batch-seconds' = ''
                '--threads' = ''
                '--engine' = 'local ray'
                '--address' = 'auto'
                '--workers' = ''
                '--gpus-per-worker' = ''
                '--resume' = $null
                '--skip-existing' = $null
                '--shard' = ''
                '--dry-run' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit eval-wer' = @{
            Commands = @()
            Operands = @('@files', '@files')
            Repeats = $true
            Options = @{
                '--ref-column' = ''
                '--hyp-column' = ''
                '--id-column' = ''
                '--audio-column' = ''
                '--time-column' = ''
                '--ids' = 'auto none first last tab'
                '--missing' = 'error empty skip'
                '--normalizer' = ', none basic english @files'
                '-n' = ', none basic english @files'
                '--normalizer-report' = $null
                '--by' = ''
                '--confusions' = ''
                '--align' = $null
                '--errors-only' = $null
                '--ci' = ''
                '--bootstrap' = ''
                '--seed' = ''
                '--resample' = ''
                '--fail-above' = ''
                '--fail-cer-above' = ''
                '--baseline' = '@files'
                '--fail-regression' = ''
                '--format' = ', text json csv html junit github markdown'
                '-f' = ', text json csv html junit github markdown'
                '--output' = '@files'
                '-o' = '@files'
                '--model' = '@models @directories'
                '-m' = '@models @directories'
                '--resume' = '@files'
                '--decoder' = 'auto greedy beam'
                '--beam-width' = ''
                '--lm' = '@lms'
                '--lm-unigrams' = '@files'
                '--no-lm' = $null
                '--lm-alpha' = ''
                '--lm-beta' = ''
                '--lexicon' = '@files'
                '--lexicon-only' = $null
                '--hotwords' = '@files'
                '--hotword-weight' = ''
                '--revision' = ''
                '--language' = '@languages'
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--chunk-length' = ''
                '--stride' = ''
                '--channel' = 'mix'
                '--batch-size' = ''
                '--batch-seconds' = ''
                '--threads' = ''
                '--engine' = 'local ray'
                '--address' = 'auto'
                '--workers' = ''
                '--gpus-per-worker' = ''
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit doctor' = @{
            Commands = @()
            Operands = @()
            Repeats = $false
            Options = @{
                '--device' = 'auto cpu cuda mps'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--json' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit completion' = @{
            Commands = @()
            Operands = @('bash zsh fish powershell')
            Repeats = $false
            Options = @{
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit convert' = @{
            Commands = @('checkpoint', 'lm', 'transcript')
            Operands = @()
            Repeats = $false
            Options = @{
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit convert checkpoint' = @{
            Commands = @()
            Operands = @('@models @directories', '@directories')
            Repeats = $false
            Options = @{
                '--dtype' = 'float32 float16 bfloat16'
                '--quantize' = 'int8'
                '--shard-size' = ''
                '--merge-weight-norm' = $null
                '--check' = $null
                '--audio' = '@files'
                '--tolerance' = ''
                '--dictionary' = '@files'
                '--sentencepiece' = '@files'
                '--base' = '@models @directories'
                '--config' = '@files'
                '--revision' = ''
                '--language' = '@languages'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit convert lm' = @{
            Commands = @()
            Operands = @('@texts @lms', '@models @directories', '@directories')
            Repeats = $false
            Options = @{
                '--order' = ''
                '--prune' = ''
                '--as-is' = $null
                '--unigrams' = '@files'
                '--lm-alpha' = ''
                '--lm-beta' = ''
                '--tune' = '@audio'
                '--audio-column' = ''
                '--text-column' = ''
                '--revision' = ''
                '--language' = '@languages'
                '--device' = 'auto cpu cuda mps'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--threads' = ''
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit convert transcript' = @{
            Commands = @()
            Operands = @('@texts @directories')
            Repeats = $true
            Options = @{
                '--from' = ''
                '--recursive' = $null
                '-r' = $null
                '--shift' = ''
                '--scale' = ''
                '--format' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '-f' = ', txt json jsonl tsv csv words srt vtt ass lrc textgrid textgrid-short ctm rttm aud'
                '--output' = '@files'
                '-o' = '@files'
                '--max-line-width' = ''
                '--max-line-count' = ''
                '--max-words-per-line' = ''
                '--max-pause' = ''
                '--dry-run' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit models' = @{
            Commands = @('list', 'info', 'download', 'path', 'attention')
            Operands = @()
            Repeats = $false
            Options = @{
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit models list' = @{
            Commands = @()
            Operands = @()
            Repeats = $false
            Options = @{
                '--cache-dir' = '@directories'
                '--json' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit models info' = @{
            Commands = @()
            Operands = @('@models @directories')
            Repeats = $false
            Options = @{
                '--revision' = ''
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--json' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit models download' = @{
            Commands = @()
            Operands = @('@models @directories')
            Repeats = $true
            Options = @{
                '--revision' = ''
                '--cache-dir' = '@directories'
                '--language' = '@languages'
                '--json' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit models path' = @{
            Commands = @()
            Operands = @('@models @directories')
            Repeats = $false
            Options = @{
                '--revision' = ''
                '--cache-dir' = '@directories'
                '--json' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
        'asrkit models attention' = @{
            Commands = @()
            Operands = @('@models @directories', '@audio')
            Repeats = $false
            Options = @{
                '--output' = '@files'
                '-o' = '@files'
                '--revision' = ''
                '--device' = 'auto cpu cuda mps'
                '--dtype' = 'float32 float16 bfloat16 auto'
                '--cache-dir' = '@directories'
                '--offline' = $null
                '--no-config' = $null
                '--quiet' = $null
                '-q' = $null
                '--verbose' = $null
                '-v' = $null
                '--debug' = $null
                '--progress' = 'auto bar json none'
                '--color' = 'auto always never'
                '--log-file' = '@files'
                '--help' = $null
                '-h' = $null
            }
        }
    }
    $suffixes = @{
        '@audio' = @('.3g2', '.3gp', '.aac', '.ac3', '.aif', '.aifc', '.aiff', '.amr', '.ape', '.asf', '.au', '.avi', '.caf', '.csv', '.dsf', '.dts', '.eac3', '.flac', '.flv', '.gsm', '.jsonl', '.m2ts', '.m4a', '.m4b', '.m4v', '.mka', '.mkv', '.mov', '.mp1', '.mp2', '.mp3', '.mp4', '.mpc', '.mpeg', '.mpg', '.mts', '.mxf', '.nist', '.oga', '.ogg', '.ogv', '.opus', '.ra', '.rf64', '.rm', '.snd', '.sph', '.spx', '.ts', '.tsv', '.tta', '.vob', '.voc', '.w64', '.wav', '.wave', '.weba', '.webm', '.wma', '.wmv', '.wv')
        '@texts' = @('.ass', '.aud.txt', '.csv', '.ctm', '.json', '.jsonl', '.lab', '.lrc', '.rttm', '.srt', '.ssa', '.textgrid', '.tsv', '.txt', '.vtt', '.words.tsv')
        '@lms' = @('.arpa', '.bin', '.binary')
    }

    $line = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text } })
    $before = $line
    if ($wordToComplete -ne '') { $before = @($line | Select-Object -SkipLast 1) }

    $path = 'asrkit'
    $option = $null
    $operands = 0
    $onlyOperands = $false
    foreach ($word in @($before | Select-Object -Skip 1)) {
        $command = $tree[$path]
        if ($option) { $option = $null }
        elseif (-not $onlyOperands -and $word -eq '--') { $onlyOperands = $true }
        elseif (-not $onlyOperands -and $word -like '-?*') {
            if ($null -ne $command.Options[$word]) { $option = $word }
        }
        elseif ($tree.ContainsKey("$path $word")) { $path = "$path $word" }
        else { $operands++ }
    }

    $command = $tree[$path]
    $head = ''
    $text = $wordToComplete.Trim("'", '"')
    if ($text -match '^(--[^=]+)=(.*)$') { $option = $Matches[1]; $head = "$option="; $text = $Matches[2] }
    $takes = @()
    if ($option) { $takes = @([string]$command.Options[$option]) }
    elseif ($text.StartsWith('-') -and -not $onlyOperands) { $takes = @($command.Options.Keys | Sort-Object) }
    elseif ($command.Commands) { $takes = $command.Commands }
    elseif ($command.Operands.Count) {
        $last = $command.Operands.Count - 1
        if ($operands -gt $last -and -not $command.Repeats) { $takes = @() }
        else { $takes = -split $command.Operands[[Math]::Min($operands, $last)] }
    }
    if ($option) { $takes = @(-split $takes[0] | Where-Object { $_ }) }
    if ($takes.Count -and $takes[0] -eq ',') {
        $takes = @($takes | Select-Object -Skip 1)
        $comma = $text.LastIndexOf(',') + 1
        $head += $text.Substring(0, $comma)
        $text = $text.Substring($comma)
    }

    $words = foreach ($take in @($takes | Where-Object { $_ })) {
        if ($take -eq '@models' -or $take -like '@languages*') {
            & $line[0] __complete $take.Substring(1) @line 2>$null
        }
        elseif ($take.StartsWith('@')) {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($text) |
                Where-Object {
                    $_.ResultType -eq 'ProviderContainer' -or $take -eq '@files' -or
                    [IO.Path]::GetExtension($_.ListItemText).ToLower() -in $suffixes[$take]
                } |
                ForEach-Object {
                    [System.Management.Automation.CompletionResult]::new(
                        $head + $_.CompletionText, $_.ListItemText, $_.ResultType, $_.ToolTip)
                }
        }
        else { $take }
    }
    foreach ($word in $words) {
        if ($word -isnot [string]) { $word }
        elseif ($word -like "$([WildcardPattern]::Escape($text))*") {
            [System.Management.Automation.CompletionResult]::new("$head$word", $word, 'ParameterValue', $word)
        }
    }
}
